#include "clusterd/config/node_settings.h"

#include <filesystem>

#include "clusterd/config/yaml_value.h"
#include "clusterd/model/limits.h"

namespace clusterd {
namespace {

constexpr std::size_t kMostBytes = 64 * 1024;
constexpr std::uint64_t kLeastRecording = 8 * 1024 * 1024;
constexpr std::uint64_t kMostRecording = 16ULL << 30;

void read_recording(const YamlValue& value, NodeSettings& settings) {
  const auto size = value.size(0, kMostRecording);
  if (size && *size != 0 && *size < kLeastRecording) value.error("must be 0MiB, or 8MiB and more");
  set(settings.recording_size, size);
}

}  // namespace

std::variant<NodeSettings, ConfigErrors> load_node_settings(const std::string& file) {
  NodeSettings settings;
  std::error_code problem;
  if (!std::filesystem::exists(file, problem) && !problem) return settings;
  ConfigErrors errors;
  Places places;
  const auto text = read_text_file(file, kMostBytes, errors);
  const auto root = text ? YamlValue::root(file, *text, errors, places) : std::nullopt;
  if (!root) return errors;
  const auto key = [](std::string& into) {
    return [&into](const YamlValue& v) { set(into, v.text(limits::kDetail)); };
  };
  const auto virt_type = [&](const YamlValue& v) {
    set(settings.virt_type, v.word<std::string>({{"kvm", "kvm"}, {"qemu", "qemu"}}));
  };
  if (!root->is_null()) {
    root->keys({{"libvirt_uri", key(settings.libvirt_uri)},
                {"virt_type", virt_type},
                {"metrics_listen", key(settings.metrics_listen)},
                {"state_dir", key(settings.state_dir)},
                {"run_dir", key(settings.run_dir)},
                {"ipc_name", key(settings.ipc_name)},
                {"boot_id_file", key(settings.boot_id_file)},
                {"machine_id_file", key(settings.machine_id_file)},
                {"watchdog_device", key(settings.watchdog_device)},
                {"recording_size", [&](const YamlValue& v) { read_recording(v, settings); }}});
  }
  if (!errors.empty()) return errors;
  return settings;
}

}  // namespace clusterd
