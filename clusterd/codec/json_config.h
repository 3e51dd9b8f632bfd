// JSON of the configuration and of changes to it. The shapes are documented in docs/api.md and
// held by a test. Times are in milliseconds, sizes in bytes, factors in thousandths.
#pragma once

#include <string>

#include "clusterd/model/review.h"

namespace clusterd {

// The stored configuration with everything that was said, secrets' file names only, and without
// domain XML (its digest tells two apart).
[[nodiscard]] std::string configuration_json(const Configuration& config);

// {"version", "findings", "changes", "through_profile", "consequences", "reserve", "brake"};
// `version` is the one that the review was made for.
[[nodiscard]] std::string review_json(const Configuration& before,
                                      const ConfigurationReview& review);

}  // namespace clusterd
