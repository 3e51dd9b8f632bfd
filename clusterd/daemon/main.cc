// clusterd: the daemon, one a host.
#include <cstdio>
#include <cstring>
#include <string>

#include "clusterd/config/node_settings.h"
#include "clusterd/daemon/daemon.h"

namespace {

constexpr const char* kUsage =
    "usage: clusterd [--config FILE] [--check-config]\n"
    "  --config FILE    node-local settings (default /etc/clusterd/clusterd.yaml; may be absent)\n"
    "  --check-config   read them, say what is wrong, and end\n";

// libvirt's hook is a program of its own that finds grants and guarded UUIDs in the folders it was
// built with: with others here it would guard nothing, and a VM could run twice.
std::string hook_mismatch(const clusterd::NodeSettings& node) {
  const clusterd::NodeSettings built;
  if (node.state_dir == built.state_dir && node.run_dir == built.run_dir) return {};
  return "state_dir and run_dir must be " + built.state_dir + " and " + built.run_dir +
         ": libvirt's hook (clusterd-qemu-hook) looks nowhere else";
}

}  // namespace

int main(int argc, char** argv) {
  std::string file = "/etc/clusterd/clusterd.yaml";
  bool check_only = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--check-config") == 0) {
      check_only = true;
    } else if (std::strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
      file = argv[++i];
    } else {
      std::fputs(kUsage, stderr);
      return 2;
    }
  }
  const auto loaded = clusterd::load_node_settings(file);
  if (const auto* errors = std::get_if<clusterd::ConfigErrors>(&loaded)) {
    for (const auto& error : *errors) std::fprintf(stderr, "%s\n", error.str().c_str());
    return 1;
  }
  const auto& node = std::get<clusterd::NodeSettings>(loaded);
  if (const std::string problem = hook_mismatch(node); !problem.empty()) {
    std::fprintf(stderr, "%s: %s\n", file.c_str(), problem.c_str());
    return 1;
  }
  if (check_only) return 0;
  const auto ended = clusterd::run_daemon(node);
  if (!ended) {
    std::fprintf(stderr, "clusterd: %s\n", ended.error().message.c_str());
    return 1;
  }
  return ended.value();
}
