// The sections of a declarations file, each as the model's value. Internal to clusterd/config.
// Whatever cannot be read stays at its default and is an error of the value.
#pragma once

#include "clusterd/config/yaml_value.h"
#include "clusterd/model/declarations.h"

namespace clusterd {

[[nodiscard]] ClusterSettings read_cluster(const YamlValue& value);
[[nodiscard]] FenceDevice read_fence_device(const YamlValue& value);
[[nodiscard]] NodeDeclaration read_node(const YamlValue& value);
// The keys that profiles and VMs share, each writing into `policy`, which must outlive them.
[[nodiscard]] YamlValue::Keys policy_keys(VmPolicy& policy);

}  // namespace clusterd
