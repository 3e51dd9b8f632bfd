#include "clusterd/config/yaml_value.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>

#include "clusterd/base/text.h"

namespace clusterd {

struct YamlNode {
  enum class Kind : std::uint8_t { null, scalar, list, map };
  Kind kind = Kind::null;
  int line = 1;
  int column = 1;
  std::string text;                // of a scalar
  std::vector<YamlNode> children;  // of a map: key, value, key, value ...
};

namespace {

constexpr std::size_t kDeepest = 32;

Place at(const std::string& file, const YAML::Mark& mark) {
  if (mark.is_null()) return {file, 1, 1};
  return {file, mark.line + 1, mark.column + 1};
}

Place end_of(const std::string& file, const std::string& text) {
  const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
  const std::size_t last_line = text.rfind('\n') + 1;
  return {file, static_cast<int>(lines), static_cast<int>(text.size() - last_line) + 1};
}

// Builds a file's values from the parser's events, and refuses what is not read. YAML::Load would
// parse the file a second time, and take longer for its nodes than for that.
class Builder final : public YAML::EventHandler {
 public:
  Builder(const std::string& file, const std::string& text, ConfigErrors& errors)
      : file_(file), end_(end_of(file, text)), errors_(errors) {}

  YamlNode take() { return std::move(root_); }

  // The place of the mark, or the end of the text where it lies beyond: on the mark of the end that
  // root() adds.
  [[nodiscard]] Place place_of(const YAML::Mark& mark) const {
    Place place = at(file_, mark);
    return place.line <= end_.line ? place : end_;
  }

  // Ends the reading: at a stray comma the parser finds empty documents for ever.
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ == 2) {
      throw YAML::ParserException(mark, "a second document or a stray ',': one file holds one");
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    look(mark, "", anchor);
    add(mark, YamlNode::Kind::null);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(mark, "aliases are not read: write it out, or use a profile");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    look(mark, tag, anchor);
    add(mark, YamlNode::Kind::scalar).text = text;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    look(mark, tag, anchor);
    enter(mark, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    look(mark, tag, anchor);
    enter(mark, YamlNode::Kind::map);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  void fail(const YAML::Mark& mark, const std::string& message) {
    errors_.push_back({place_of(mark), message});
  }
  void look(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) fail(mark, "anchors are not read: write it out, or use a profile");
    if (tag.size() > 1) fail(mark, "tags are not read: " + tidy_text(tag, 80));
  }
  // Only the innermost open value grows: what is open around it stays where it is.
  YamlNode& add(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode& node = open_.empty() ? root_ : open_.back()->children.emplace_back();
    const Place place = place_of(mark);
    node.kind = kind;
    node.line = place.line;
    node.column = place.column;
    return node;
  }
  void enter(const YAML::Mark& mark, YamlNode::Kind kind) {
    open_.push_back(&add(mark, kind));
    if (open_.size() > kDeepest) throw YAML::ParserException(mark, "nested too deeply");
  }

  const std::string& file_;
  const Place end_;
  ConfigErrors& errors_;
  YamlNode root_;
  std::vector<YamlNode*> open_;
  int documents_ = 0;
};

// The number in front and the unit behind it; nullopt without digits or beyond 2^64.
std::optional<std::pair<std::uint64_t, std::string>> split_unit(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc()) return std::nullopt;
  return std::pair{value, std::string(end, text.data() + text.size())};
}

// value * factor within least..most; nullopt otherwise.
std::optional<std::uint64_t> scaled(std::uint64_t value, std::uint64_t factor, std::uint64_t least,
                                    std::uint64_t most) {
  if (value > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
  value *= factor;
  if (value < least || value > most) return std::nullopt;
  return value;
}

// The largest unit that shows the value without a rest.
std::string with_unit(std::uint64_t value,
                      const std::vector<std::pair<const char*, std::uint64_t>>& units) {
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    if (value % unit->second == 0 && value >= unit->second) {
      return std::to_string(value / unit->second) + unit->first;
    }
  }
  return std::to_string(value) + units.front().first;
}

// The text of a key; empty: it is no scalar, or nothing stands there.
const std::string& name_in(const YamlNode& key) {
  return key.text;
}

const std::vector<std::pair<const char*, std::uint64_t>> kTimeUnits{
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
const std::vector<std::pair<const char*, std::uint64_t>> kSizeUnits{
    {"B", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}, {"TiB", 1ULL << 40}};

}  // namespace

bool is_name(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && text.size() <= 63 && plain(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

YamlValue::YamlValue(std::shared_ptr<const YamlNode> node, std::string file, std::string path,
                     ConfigErrors& errors, Places& places)
    : node_(std::move(node)),
      place_{std::move(file), node_->line, node_->column},
      path_(std::move(path)),
      errors_(&errors),
      places_(&places) {
  places_->emplace(path_, place_);
}

std::optional<YamlValue> YamlValue::root(const std::string& file, const std::string& text,
                                         ConfigErrors& errors, Places& places) {
  const std::size_t before = errors.size();
  Builder builder(file, text, errors);
  try {
    // Without the mark of the end the parser takes the end of the file for a missing closing quote.
    const bool whole_line = !text.empty() && text.back() == '\n';
    std::istringstream in(text + (whole_line ? "...\n" : "\n...\n"));
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
    if (errors.size() != before) return std::nullopt;
    return YamlValue(std::make_shared<YamlNode>(builder.take()), file, "", errors, places);
  } catch (const YAML::Exception& problem) {
    const bool open = problem.msg == YAML::ErrorMsg::DOC_IN_SCALAR;
    errors.push_back({builder.place_of(problem.mark),
                      open ? "a quote above here is not closed" : tidy_text(problem.msg, 200)});
  }
  return std::nullopt;
}

bool YamlValue::is_null() const {
  return node_->kind == YamlNode::Kind::null;
}
bool YamlValue::is_map() const {
  return node_->kind == YamlNode::Kind::map;
}

YamlValue YamlValue::child(const YamlNode& node, std::string path) const {
  return {std::shared_ptr<const YamlNode>(node_, &node), place_.file, std::move(path), *errors_,
          *places_};
}

void YamlValue::error(const std::string& message) const {
  errors_->push_back({place_, (path_.empty() ? "" : path_ + ": ") + message});
}

bool YamlValue::has(const char* key) const {
  if (!is_map()) return false;
  for (std::size_t i = 0; i < node_->children.size(); i += 2) {
    if (name_in(node_->children[i]) == key) return true;
  }
  return false;
}

std::string YamlValue::shown(const std::string& text) {
  return tidy_text(text, 40);
}

bool YamlValue::keys(const Keys& known) const {
  std::string all;
  for (const auto& [name, visit] : known) all += (all.empty() ? "" : ", ") + name;
  if (!is_map()) {
    error("must be a mapping with keys out of " + all);
    return false;
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < node_->children.size(); i += 2) {
    const YamlValue key = child(node_->children[i], path_);
    const YamlNode& value = node_->children[i + 1];
    const std::string& name = name_in(node_->children[i]);
    const auto visit = known.find(name);
    if (visit == known.end()) {
      key.error("unknown key '" + shown(name) + "'; known are " + all);
    } else if (!seen.insert(name).second) {
      key.error("'" + name + "' stands here a second time");
    } else {
      visit->second(child(value, path_.empty() ? name : path_ + "." + name));
    }
  }
  return true;
}

bool YamlValue::entries(
    const std::function<void(const std::string&, const YamlValue&)>& visit) const {
  if (!is_map()) {
    error("must be a mapping from names");
    return false;
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < node_->children.size(); i += 2) {
    const YamlValue key = child(node_->children[i], path_);
    const YamlNode& value = node_->children[i + 1];
    const std::string& name = name_in(node_->children[i]);
    if (!is_name(name)) {
      key.error("'" + shown(name) + "' is no name: letters, digits, '.', '_', '-', at most 63");
    } else if (!seen.insert(name).second) {
      key.error("'" + name + "' stands here a second time");
    } else {
      const std::string path = path_.empty() ? name : path_ + "." + name;
      // The name shows an object better than what comes first in it.
      YamlValue object = child(value, path);
      if (value.kind != YamlNode::Kind::scalar) object.place_ = key.place_;
      (*places_)[path] = object.place_;
      visit(name, object);
    }
  }
  return true;
}

bool YamlValue::items(const Visit& visit) const {
  if (node_->kind != YamlNode::Kind::list) {
    error("must be a list");
    return false;
  }
  std::size_t index = 0;
  for (const YamlNode& item : node_->children) {
    visit(child(item, path_ + "[" + std::to_string(index++) + "]"));
  }
  return true;
}

std::optional<std::string> YamlValue::scalar() const {
  if (node_->kind == YamlNode::Kind::scalar) return node_->text;
  error(is_null() ? "nothing stands here; a value is needed"
                  : "must be one value, not a list or a mapping");
  return std::nullopt;
}

std::optional<std::string> YamlValue::text(std::size_t most) const {
  auto said = scalar();
  if (!said) return std::nullopt;
  if (said->empty()) {
    error("must not be empty");
  } else if (said->size() > most) {
    error("has " + std::to_string(said->size()) + " bytes; at most " + std::to_string(most) +
          " may be");
  } else if (has_control(*said)) {
    error("has a control character");
  } else {
    return said;
  }
  return std::nullopt;
}

std::optional<std::string> YamlValue::name() const {
  auto said = scalar();
  if (!said || is_name(*said)) return said;
  error("'" + shown(*said) + "' is no name: letters, digits, '.', '_', '-', at most 63");
  return std::nullopt;
}

std::optional<bool> YamlValue::boolean() const {
  return word<bool>({{"true", true}, {"false", false}});
}

std::optional<std::uint64_t> YamlValue::number(std::uint64_t least, std::uint64_t most) const {
  const auto said = scalar();
  if (!said) return std::nullopt;
  const auto parts = split_unit(*said);
  if (parts && parts->second.empty() && parts->first >= least && parts->first <= most) {
    return parts->first;
  }
  error("'" + shown(*said) + "' is no whole number from " + std::to_string(least) + " to " +
        std::to_string(most));
  return std::nullopt;
}

std::optional<std::uint32_t> YamlValue::thousandths(std::uint32_t most) const {
  const auto said = scalar();
  if (!said) return std::nullopt;
  const auto parts = split_unit(*said);
  std::string fraction = parts ? parts->second : "?";
  const bool has_digits = fraction.size() >= 2 && fraction.size() <= 4 && fraction.front() == '.' &&
                          fraction.find_first_not_of("0123456789", 1) == std::string::npos;
  if (fraction.empty() || has_digits) {
    fraction.resize(4, '0');
    const std::uint64_t rest = split_unit(fraction.substr(1))->first;
    const auto value = scaled(parts->first, 1000, 0, most);
    if (value && *value + rest >= 1 && *value + rest <= most) {
      return static_cast<std::uint32_t>(*value + rest);
    }
  }
  error("'" + shown(*said) + "' is no factor like 1.5, above 0 and at most " +
        std::to_string(most / 1000));
  return std::nullopt;
}

std::optional<std::uint32_t> YamlValue::percent() const {
  const auto said = scalar();
  if (!said) return std::nullopt;
  const auto parts = split_unit(*said);
  if (parts && parts->second == "%" && parts->first <= 100) {
    return static_cast<std::uint32_t>(parts->first);
  }
  error("'" + shown(*said) + "' is no share from 0% to 100%");
  return std::nullopt;
}

std::optional<Duration> YamlValue::duration(Duration least, Duration most) const {
  const auto said = scalar();
  if (!said) return std::nullopt;
  const auto low = static_cast<std::uint64_t>(least.count());
  const auto high = static_cast<std::uint64_t>(most.count());
  if (const auto parts = split_unit(*said)) {
    for (const auto& [unit, factor] : kTimeUnits) {
      if (parts->second != unit) continue;
      if (const auto ms = scaled(parts->first, factor, low, high)) {
        return Duration(static_cast<Duration::rep>(*ms));
      }
    }
  }
  error("'" + shown(*said) + "' is no time from " + with_unit(low, kTimeUnits) + " to " +
        with_unit(high, kTimeUnits) + ", like 500ms, 10s, 2m or 1h");
  return std::nullopt;
}

std::optional<std::uint64_t> YamlValue::size(std::uint64_t least, std::uint64_t most) const {
  const auto said = scalar();
  if (!said) return std::nullopt;
  if (const auto parts = split_unit(*said)) {
    for (const auto& [unit, factor] : kSizeUnits) {
      if (parts->second != unit) continue;
      if (const auto bytes = scaled(parts->first, factor, least, most)) return bytes;
    }
  }
  error("'" + shown(*said) + "' is no size from " + with_unit(least, kSizeUnits) + " to " +
        with_unit(most, kSizeUnits) + ", like 512MiB or 4GiB");
  return std::nullopt;
}

std::optional<std::vector<std::string>> YamlValue::name_list() const {
  std::vector<std::string> names;
  const bool is_list = items([&](const YamlValue& item) {
    const auto name = item.name();
    if (!name) return;
    if (std::find(names.begin(), names.end(), *name) != names.end()) {
      item.error("'" + *name + "' stands here a second time");
    }
    places_->emplace(path_ + "[" + *name + "]", item.place());
    names.push_back(*name);
  });
  if (!is_list) return std::nullopt;
  return names;
}

std::optional<std::set<std::string>> YamlValue::name_set() const {
  const auto names = name_list();
  if (!names) return std::nullopt;
  return std::set<std::string>(names->begin(), names->end());
}

}  // namespace clusterd
