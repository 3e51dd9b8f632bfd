#include "clusterd/config/node_settings.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

namespace clusterd {
namespace {

constexpr std::uintmax_t kMostBytes = 64 * 1024;

ConfigError at(const std::string& file, const YAML::Mark& mark, const std::string& message) {
  return {file, mark.line + 1, mark.column + 1, message};
}

std::vector<ConfigError> read(const std::string& file, const YAML::Node& root,
                              const std::map<std::string, std::string*>& keys) {
  std::vector<ConfigError> errors;
  if (root.IsNull()) return errors;
  if (!root.IsMap()) return {at(file, root.Mark(), "must be a mapping of settings")};
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const YAML::Mark mark = entry.first.Mark();
    const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
    const auto known = keys.find(name);
    if (known == keys.end()) {
      std::string all;
      for (const auto& [key, value] : keys) all += (all.empty() ? "" : ", ") + key;
      errors.push_back(at(file, mark, "unknown key " + name + "; known are " + all));
    } else if (!seen.insert(name).second) {
      errors.push_back(at(file, mark, name + " stands here a second time"));
    } else if (!entry.second.IsScalar() || entry.second.Scalar().empty()) {
      errors.push_back(at(file, entry.second.Mark(), name + " must be a text"));
    } else {
      *known->second = entry.second.Scalar();
    }
  }
  return errors;
}

}  // namespace

std::string ConfigError::str() const {
  return file + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + message;
}

std::variant<NodeSettings, std::vector<ConfigError>> load_node_settings(const std::string& file) {
  using Errors = std::vector<ConfigError>;
  NodeSettings settings;
  std::error_code problem;
  if (!std::filesystem::exists(file, problem)) {
    if (problem) return Errors{{file, 1, 1, "cannot be read: " + problem.message()}};
    return settings;
  }
  const auto size = std::filesystem::file_size(file, problem);
  if (problem) return Errors{{file, 1, 1, "cannot be read: " + problem.message()}};
  if (size > kMostBytes) return Errors{{file, 1, 1, "is larger than 64 KiB"}};
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) return Errors{{file, 1, 1, "cannot be read"}};
  const std::map<std::string, std::string*> keys{
      {"libvirt_uri", &settings.libvirt_uri},   {"metrics_listen", &settings.metrics_listen},
      {"state_dir", &settings.state_dir},       {"run_dir", &settings.run_dir},
      {"ipc_name", &settings.ipc_name},         {"boot_id_file", &settings.boot_id_file},
      {"machine_id_file", &settings.machine_id_file},
      {"watchdog_device", &settings.watchdog_device}};
  try {
    Errors errors = read(file, YAML::Load(text), keys);
    if (!errors.empty()) return errors;
  } catch (const YAML::Exception& error) {
    return Errors{at(file, error.mark, error.msg)};
  }
  return settings;
}

}  // namespace clusterd
