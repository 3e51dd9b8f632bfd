#include "clusterd/config/declarations_file.h"

#include <algorithm>
#include <filesystem>

#include "clusterd/config/agent_options.h"
#include "clusterd/config/domain_file.h"
#include "clusterd/config/read_sections.h"
#include "clusterd/model/limits.h"

namespace clusterd {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostBytes = 4 * 1024 * 1024;  // some ten thousand VMs
constexpr std::size_t kMostFiles = 1000;

// The files that `path` means, in the order in which they are read.
std::vector<std::string> files_of(const std::string& path, ConfigErrors& errors) {
  std::error_code problem;
  if (!fs::is_directory(path, problem)) return {path};
  std::vector<std::string> files;
  for (fs::directory_iterator entry(path, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    const std::string extension = entry->path().extension().string();
    if (extension == ".yaml" || extension == ".yml") files.push_back(entry->path().string());
  }
  const Place place{path, 1, 1};
  if (problem) errors.push_back({place, "cannot be listed: " + problem.message()});
  if (!problem && files.empty()) errors.push_back({place, "has no *.yaml and no *.yml file"});
  if (files.size() > kMostFiles) {
    errors.push_back({place, "has more than " + std::to_string(kMostFiles) + " files"});
    return {};
  }
  std::sort(files.begin(), files.end());
  return files;
}

class Loader {
 public:
  Loader(const AgentMetadata& metadata, Purpose purpose) : metadata_(metadata), purpose_(purpose) {}

  LoadedDeclarations load(const std::string& path) {
    for (const auto& file : files_of(path, out_.errors)) read_file(file);
    std::sort(out_.errors.begin(), out_.errors.end());
    out_.errors.erase(std::unique(out_.errors.begin(), out_.errors.end()), out_.errors.end());
    return std::move(out_);
  }

 private:
  void read_file(const std::string& file) {
    const auto text = read_text_file(file, kMostBytes, out_.errors);
    if (!text) return;
    const auto root = YamlValue::root(file, *text, out_.errors, out_.places);
    if (!root) return;
    auto& d = out_.declarations;
    root->keys({{"cluster",
                 [&](const YamlValue& v) {
                   if (d.cluster) v.error("is declared in another file too");
                   d.cluster = read_cluster(v);
                 }},
                {"fence_devices", section([&](const std::string& name, const YamlValue& v) {
                   add(d.fence_devices, name, v, read_fence_device(v));
                   check_device(v, d.fence_devices.at(name));
                 })},
                {"nodes", section([&](const std::string& name, const YamlValue& v) {
                   add(d.nodes, name, v, read_node(v));
                 })},
                {"profiles", section([&](const std::string& name, const YamlValue& v) {
                   VmPolicy policy;
                   v.keys(policy_keys(policy));
                   add(d.profiles, name, v, std::move(policy));
                 })},
                {"vms", section([&](const std::string& name, const YamlValue& v) {
                   add(d.vms, name, v, read_vm(name, v));
                 })}});
  }

  template <class Entry>
  static YamlValue::Visit section(Entry entry) {
    return [entry = std::move(entry)](const YamlValue& v) {
      if (!v.is_null()) v.entries(entry);  // an empty section says nothing
    };
  }

  template <class T>
  static void add(std::map<std::string, T>& into, const std::string& name, const YamlValue& v,
                  T value) {
    if (!into.emplace(name, std::move(value)).second) {
      v.error("is declared in another file too");
    }
  }

  VmDeclaration read_vm(const std::string& name, const YamlValue& value) {
    VmDeclaration vm;
    auto keys = policy_keys(vm.policy);
    keys.emplace("profile", [&](const YamlValue& v) { set(vm.profile, v.name()); });
    keys.emplace("domain", [&](const YamlValue& v) {
      if (const auto file = v.text(limits::kDetail)) read_domain_file(name, *file, v, vm);
    });
    if (value.keys(keys) && purpose_ == Purpose::apply && !value.has("domain")) {
      value.error("has no domain: the file with its libvirt XML");
    }
    return vm;
  }

  void read_domain_file(const std::string& vm, const std::string& said, const YamlValue& value,
                        VmDeclaration& declaration) {
    const fs::path base = fs::path(value.place().file).parent_path();
    const std::string file = (base / said).lexically_normal().string();
    std::error_code problem;
    if (!fs::exists(file, problem)) {
      value.error("there is no file " + file);
      return;
    }
    const auto xml = read_text_file(file, limits::kDomainXml, out_.errors);
    if (!xml) return;
    auto facts = read_domain(file, *xml, vm, out_.errors);
    if (!facts) return;
    out_.declarations.domain_xml.emplace(facts->xml, *xml);
    declaration.domain = std::move(*facts);
  }

  void check_device(const YamlValue& value, const FenceDevice& device) {
    for (const auto& [name, text] : device.options) {
      if (!is_secret_option(name)) continue;
      const auto place = find_place(out_.places, value.path() + ".options." + name);
      out_.errors.push_back({place.value_or(value.place()),
                             value.path() + ".options." + name +
                                 ": a secret does not stand here: put it into a file "
                                 "(root, 0600) on every node and name that under secrets"});
    }
    if (!metadata_ || device.agent.empty()) return;
    auto known = asked_.find(device.agent);
    if (known == asked_.end()) {
      known = asked_.emplace(device.agent, metadata_(device.agent)).first;
    }
    if (known->second) {
      check_agent_options(value.path(), device, known->second.value(), out_.places, out_.errors);
      return;
    }
    const auto place = find_place(out_.places, value.path() + ".agent");
    out_.errors.push_back(
        {place.value_or(value.place()), value.path() + ".agent: " + known->second.error().message});
  }

  const AgentMetadata& metadata_;
  const Purpose purpose_;
  std::map<std::string, Result<std::string>> asked_;
  LoadedDeclarations out_;
};

}  // namespace

LoadedDeclarations load_declarations(const std::string& path, const AgentMetadata& metadata,
                                     Purpose purpose) {
  return Loader(metadata, purpose).load(path);
}

std::optional<Place> find_place(const Places& places, std::string path) {
  while (!path.empty()) {
    const auto found = places.find(path);
    if (found != places.end()) return found->second;
    const auto cut = path.find_last_of(".[");
    path.resize(cut == std::string::npos ? 0 : cut);
  }
  return std::nullopt;
}

}  // namespace clusterd
