// Declarations as files: what `clusterctl apply -f` and `clusterctl plan -f` read (docs/
// configuration.md names every key).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/config/config_error.h"
#include "clusterd/config/yaml_value.h"
#include "clusterd/model/check.h"
#include "clusterd/model/declarations.h"

namespace clusterd {

// What a fence agent prints for `metadata`, by the agent's name.
using AgentMetadata = std::function<Result<std::string>(const std::string& agent)>;

struct LoadedDeclarations {
  Declarations declarations;  // whatever could be read, also beside errors
  Places places;
  ConfigErrors errors;
};

// `path` is a file, or a folder whose *.yaml and *.yml files are read in the order of their names
// as if they were one. Never throws; every error of every file is in the result, in the order of
// files, lines and columns. `metadata` is asked once for each agent; empty: options of fence
// devices are not checked. With Purpose::plan a VM needs no domain; its UUID is nil then.
[[nodiscard]] LoadedDeclarations load_declarations(const std::string& path,
                                                   const AgentMetadata& metadata,
                                                   Purpose purpose = Purpose::apply);

// Where a path that check() names was said: its own place, or that of the nearest object around
// it. nullopt: no file mentions it.
[[nodiscard]] std::optional<Place> find_place(const Places& places, std::string path);

}  // namespace clusterd
