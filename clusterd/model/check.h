#pragma once
#include "clusterd/model/declarations.h"
namespace clusterd {
enum class Severity : std::uint8_t { error, warning };
struct Finding { std::string path; std::string message; Severity severity = Severity::error; };
[[nodiscard]] std::vector<Finding> check(const Configuration& config);
}
