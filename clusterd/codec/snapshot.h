// Snapshot: the whole ClusterState as bytes, with version and checksum; on disk and to joiners.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "clusterd/base/digest.h"
#include "clusterd/codec/wire.h"
#include "clusterd/model/state.h"

namespace clusterd {

[[nodiscard]] std::string encode_state(const ClusterState& state);
[[nodiscard]] std::variant<ClusterState, WireError> decode_state(std::string_view bytes);

// Over the canonical encoding: equal states have equal digests on every machine (protocol S5).
[[nodiscard]] Digest state_digest(const ClusterState& state);

}  // namespace clusterd
