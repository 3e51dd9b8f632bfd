#include "clusterd/config/node_settings.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

using namespace clusterd;

namespace {

std::variant<NodeSettings, std::vector<ConfigError>> load_text(const std::string& text) {
  const std::string file = "/tmp/clusterd-settings-" + std::to_string(getpid()) + ".yaml";
  std::ofstream(file) << text;
  auto loaded = load_node_settings(file);
  unlink(file.c_str());
  return loaded;
}

std::vector<std::string> errors_of(const std::string& text) {
  const auto loaded = load_text(text);
  std::vector<std::string> lines;
  REQUIRE(std::holds_alternative<std::vector<ConfigError>>(loaded));
  for (const ConfigError& error : std::get<std::vector<ConfigError>>(loaded)) {
    lines.push_back(std::to_string(error.place.line) + ":" + std::to_string(error.place.column));
  }
  return lines;
}

}  // namespace

TEST_CASE("node settings: an absent or empty file gives the defaults") {
  CHECK(std::holds_alternative<NodeSettings>(load_node_settings("/nonexistent/clusterd.yaml")));
  const auto loaded = load_text("");
  REQUIRE(std::holds_alternative<NodeSettings>(loaded));
  CHECK(std::get<NodeSettings>(loaded).metrics_listen == "127.0.0.1:9465");
}

TEST_CASE("node settings: what is written counts") {
  const auto loaded = load_text("state_dir: /x\nipc_name: other\n");
  REQUIRE(std::holds_alternative<NodeSettings>(loaded));
  CHECK(std::get<NodeSettings>(loaded).state_dir == "/x");
  CHECK(std::get<NodeSettings>(loaded).ipc_name == "other");
  CHECK(std::get<NodeSettings>(loaded).recording_size == 64U << 20);
  const auto off = load_text("recording_size: 0MiB\n");
  REQUIRE(std::holds_alternative<NodeSettings>(off));
  CHECK(std::get<NodeSettings>(off).recording_size == 0);
  CHECK(std::get<NodeSettings>(off).virt_type == "kvm");
  const auto emulated = load_text("virt_type: qemu\n");
  REQUIRE(std::holds_alternative<NodeSettings>(emulated));
  CHECK(std::get<NodeSettings>(emulated).virt_type == "qemu");
}

TEST_CASE("node settings: all errors are told at once, each with its place") {
  CHECK(errors_of("state_dri: /x\nrun_dir: [a]\nipc_name: a\nipc_name: b\n") ==
        std::vector<std::string>{"1:1", "2:10", "4:1"});
  CHECK(errors_of("recording_size: 1MiB\n") == std::vector<std::string>{"1:17"});
  CHECK(errors_of("virt_type: xen\n") == std::vector<std::string>{"1:12"});
  CHECK(errors_of("- a\n") == std::vector<std::string>{"1:1"});
  CHECK(errors_of("a: [\n").size() == 1);
  // The quote that is not closed would swallow the rest of the file.
  CHECK(errors_of("libvirt_uri: \"qemu:///system\nstate_dir: /x\n") ==
        std::vector<std::string>{"3:1"});
}
