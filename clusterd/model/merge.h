#pragma once
#include "clusterd/model/declarations.h"
namespace clusterd { [[nodiscard]] Configuration merge(const Configuration&, const Declarations&); }
