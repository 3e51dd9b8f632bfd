// Merge: declarations over a stored configuration. What is mentioned changes, nothing is removed.
#pragma once

#include "clusterd/model/declarations.h"

namespace clusterd {

// Pure; keeps the version. A mentioned object replaces the stored one of the same name whole.
[[nodiscard]] Configuration merge(const Configuration& stored, const Declarations& mentioned);

}  // namespace clusterd
