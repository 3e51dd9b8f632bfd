#include "clusterd/model/check.h"
namespace clusterd { std::vector<Finding> check(const Configuration&) { return {}; } }
