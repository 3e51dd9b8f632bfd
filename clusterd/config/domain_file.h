// A domain's XML as an operator wrote it: is it fit for a VM under clusterd, and what does the
// planner have to know of it.
#pragma once

#include <optional>
#include <string>

#include "clusterd/config/config_error.h"
#include "clusterd/model/declarations.h"

namespace clusterd {

// Every error of the text is appended, with its line and column in `file`; nullopt if there is
// one. `vm` is the name under which the VM is declared. Asks for a UUID and a MAC address at every
// interface: libvirt would make up others at every start.
[[nodiscard]] std::optional<DomainFacts> read_domain(const std::string& file,
                                                     const std::string& xml, const std::string& vm,
                                                     ConfigErrors& errors);

}  // namespace clusterd
