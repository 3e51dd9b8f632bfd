// The settings of one host as its administrator may write them.
// runs: 10000
#include "clusterd/config/node_settings.h"

#include "clusterd/base/assert.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/memory_file.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

void fuzz_one(std::string_view input) {
  static fuzz::MemoryFile file(200);
  file.write(input);
  const auto loaded = load_node_settings(file.path());
  if (const auto* errors = std::get_if<ConfigErrors>(&loaded)) {
    CLUSTERD_ASSERT(!errors->empty());
    fuzz::check_errors(*errors, file.path(), input);
    return;
  }
  const auto& settings = std::get<NodeSettings>(loaded);
  for (const std::string* value :
       {&settings.libvirt_uri, &settings.virt_type, &settings.metrics_listen, &settings.state_dir,
        &settings.run_dir, &settings.ipc_name, &settings.boot_id_file, &settings.machine_id_file}) {
    fuzz::check_told(*value);
  }
  // The whole file was read: what stands behind it is an error.
  file.write(std::string(input) + "\nno-such-key: 1\n");
  CLUSTERD_ASSERT(std::holds_alternative<ConfigErrors>(load_node_settings(file.path())));
}
