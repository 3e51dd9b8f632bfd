// What a fence agent prints about itself, against the options of a device.
// runs: 25000
#include "clusterd/base/assert.h"
#include "clusterd/config/agent_options.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

void fuzz_one(std::string_view input) {
  FenceDevice device;
  device.agent = "fence_ipmilan";
  device.options = {{"ip", "192.0.2.11"}, {"lanplus", "1"}, {"ipport", "x"}, {"auth", "md5"}};
  device.secrets = {{"password", "/etc/clusterd/secrets/bmc"}};
  const Places places{{"fence_devices.bmc-n1", {"cluster.yaml", 3, 5}}};
  ConfigErrors errors;
  check_agent_options("fence_devices.bmc-n1", device, std::string(input), places, errors);
  fuzz::check_errors(errors, "", "");
  for (const ConfigError& error : errors) CLUSTERD_ASSERT(error.place.line == 3);
  // Something that names none of the options cannot pass: "ipport" is no number anywhere.
  const bool names_it = input.find("ipport") != input.npos;
  CLUSTERD_ASSERT(names_it || !errors.empty());
}
