// The options of a fence device against what its agent says of itself.
#pragma once

#include <string>

#include "clusterd/config/yaml_value.h"
#include "clusterd/model/declarations.h"

namespace clusterd {

// True for options that hold a secret by their name (password, passphrase, token ...). The
// ClusterLabs metadata has no type for them.
[[nodiscard]] bool is_secret_option(const std::string& name);

// Appends an error for every option that the agent does not know, that has a value of the wrong
// type, or that it needs and nobody gave. `metadata` is what the agent prints, possibly with
// warnings around it. `path` is the device's ("fence_devices.bmc-n1"); its places are known.
// Source of the format: https://github.com/ClusterLabs/fence-agents/blob/main/doc/FenceAgentAPI.md
void check_agent_options(const std::string& path, const FenceDevice& device,
                         const std::string& metadata, const Places& places, ConfigErrors& errors);

}  // namespace clusterd
