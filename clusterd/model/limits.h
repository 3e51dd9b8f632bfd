// Limits: how long, many and large the values of the model may be. The loader refuses what is
// beyond them with file and line, validation (codec/validate.h) whatever else brings it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "clusterd/base/time.h"

namespace clusterd::limits {

inline constexpr std::size_t kName = 255;             // bytes of a name
inline constexpr std::size_t kText = 64 * 1024;       // bytes of any other text
inline constexpr std::size_t kDetail = 4096;          // what agents and libvirt may say
inline constexpr std::size_t kDomainXml = 256 * 1024;
inline constexpr std::size_t kSnapshot = 64 * 1024 * 1024;
inline constexpr std::size_t kMessage = 72 * 1024 * 1024;
inline constexpr std::size_t kNodes = 256;
inline constexpr std::size_t kElements = 100000;      // of any container
inline constexpr std::uint64_t kMemory = 1ULL << 50;  // bytes of one host or VM
inline constexpr std::uint32_t kVcpus = 1U << 20;
inline constexpr std::uint32_t kFactor = 100000;      // of an overcommit: a hundred times
inline constexpr std::uint32_t kVotes = 1000;         // of one node
inline constexpr std::uint32_t kTries = 1000;         // attempts, retries, failures in a row
inline constexpr Duration kDuration = std::chrono::hours(24 * 366);
inline constexpr ClusterTime kLatest{253402300799999};  // the end of the year 9999

}  // namespace clusterd::limits
