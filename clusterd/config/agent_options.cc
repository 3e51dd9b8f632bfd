#include "clusterd/config/agent_options.h"

#include <algorithm>
#include <pugixml.hpp>
#include <string_view>

#include "clusterd/base/text.h"
#include "clusterd/config/declarations_file.h"
#include "clusterd/model/limits.h"

namespace clusterd {
namespace {

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_whole_number(const std::string& value) {
  return !value.empty() && value.size() < 19 &&
         value.find_first_not_of("0123456789") == std::string::npos;
}

// What is wrong with the value; empty: nothing.
std::string unfit(const pugi::xml_node& parameter, const std::string& value) {
  const auto content = parameter.child("content");
  const std::string_view type = content.attribute("type").value();
  if (type == "boolean") {
    static const std::set<std::string> kWords{"0", "1", "true", "false", "on", "off", "yes", "no"};
    return kWords.contains(value) ? "" : "is a switch: 1 or 0";
  }
  if (type == "integer" || type == "second") {
    return is_whole_number(value) ? "" : "is a whole number";
  }
  if (type != "select") return {};
  std::string all;
  for (const auto& option : content.children("option")) {
    const std::string one = option.attribute("value").value();
    if (one == value) return {};
    all += (all.empty() ? "" : ", ") + one;
  }
  return "is one of " + all;
}

class OptionCheck {
 public:
  OptionCheck(const std::string& path, const FenceDevice& device, const Places& places,
              ConfigErrors& errors)
      : path_(path), device_(device), places_(places), errors_(errors) {}

  void run(const pugi::xml_node& parameters) {
    for (const auto& parameter : parameters.children("parameter")) {
      known_.emplace(parameter.attribute("name").value(), parameter);
    }
    for (const auto& [name, value] : device_.options) {
      if (!is_known("options", name)) continue;
      const std::string problem = unfit(known_.at(name), value);
      if (!problem.empty()) fail("options." + name, name + " of " + device_.agent + " " + problem);
    }
    for (const auto& [name, file] : device_.secrets) is_known("secrets", name);
    for (const auto& [name, parameter] : known_) {
      const bool needed = parameter.attribute("required").as_bool() &&
                          !parameter.attribute("deprecated").as_bool();
      if (needed && !is_given(name, parameter)) {
        fail("options", device_.agent + " needs the option " + name);
      }
    }
  }

 private:
  void fail(const std::string& where, const std::string& message) {
    const std::string path = path_ + "." + where;
    // Names and values in it are the agent's words.
    errors_.push_back({find_place(places_, path).value_or(Place{}),
                       tidy_text(path + ": " + message, limits::kDetail)});
  }

  bool is_known(const std::string& section, const std::string& name) {
    if (known_.contains(name)) return true;
    fail(section + "." + name,
         device_.agent + " has no option " + name + "; `" + device_.agent + " -h` lists them");
    return false;
  }

  bool given(const std::string& name) const {
    return device_.options.contains(name) || device_.secrets.contains(name);
  }

  // clusterd itself gives the action; an option may go by its older name.
  bool is_given(const std::string& name, const pugi::xml_node& parameter) const {
    const std::string older = parameter.attribute("obsoletes").value();
    if (name == "action" || given(name) || (!older.empty() && given(older))) return true;
    return std::any_of(known_.begin(), known_.end(), [&](const auto& other) {
      return name == other.second.attribute("obsoletes").value() && given(other.first);
    });
  }

  const std::string& path_;
  const FenceDevice& device_;
  const Places& places_;
  ConfigErrors& errors_;
  std::map<std::string, pugi::xml_node> known_;
};

}  // namespace

bool is_secret_option(const std::string& name) {
  static const std::set<std::string> kSecret{"apikey", "secret_key", "token", "hexadecimal_kg"};
  if (ends_with(name, "_script") || ends_with(name, "_file")) return false;
  return name.find("passw") != std::string::npos || name.find("passphrase") != std::string::npos ||
         kSecret.contains(name);
}

void check_agent_options(const std::string& path, const FenceDevice& device,
                         const std::string& metadata, const Places& places, ConfigErrors& errors) {
  constexpr std::string_view kEnd = "</resource-agent>";
  const auto begin = metadata.find("<resource-agent");
  const auto end = metadata.rfind(kEnd);
  pugi::xml_document document;
  const bool framed = begin != std::string::npos && end != std::string::npos && begin < end;
  if (!framed || !document.load_buffer(metadata.data() + begin, end + kEnd.size() - begin)) {
    errors.push_back({find_place(places, path + ".agent").value_or(Place{}),
                      path + ": what " + device.agent + " says of itself is no agent metadata"});
    return;
  }
  OptionCheck(path, device, places, errors).run(document.document_element().child("parameters"));
}

}  // namespace clusterd
