#include "clusterd/runtime/reassembly.h"

#include <utility>

#include "clusterd/codec/validate.h"

namespace clusterd {

Reassembly::Outcome Reassembly::add(GroupMember sender, Fragment fragment) {
  const Key key{sender, fragment.incarnation, fragment.value};
  auto found = partials_.find(key);
  if (found == partials_.end()) {
    // Its beginning was refused before, or was delivered in an earlier view.
    if (fragment.number != 0) return Refused{"a fragment without its beginning"};
    if (fragment.total == 1) return std::move(fragment.bytes);
    std::size_t of_sender = 0;
    for (const auto& [other, partial] : partials_) of_sender += other.sender == sender ? 1U : 0U;
    if (of_sender >= kMaxValues) return Refused{"too many incomplete values of one sender"};
    found = partials_.emplace(key, Partial{fragment.total, 0, {}}).first;
  }
  Partial& partial = found->second;
  if (fragment.number != partial.next || fragment.total != partial.total) {
    drop(found);
    return Refused{"a fragment out of order"};
  }
  if (partial.bytes.size() + fragment.bytes.size() > limits::kMessage ||
      bytes_ + fragment.bytes.size() > kMaxBytes) {
    drop(found);
    return Refused{"a fragmented value that is too large"};
  }
  partial.bytes += fragment.bytes;
  bytes_ += fragment.bytes.size();
  if (++partial.next < partial.total) return Incomplete{};
  std::string whole = std::move(partial.bytes);
  bytes_ -= whole.size();
  partials_.erase(found);
  return whole;
}

void Reassembly::drop(std::map<Key, Partial>::iterator partial) {
  bytes_ -= partial->second.bytes.size();
  partials_.erase(partial);
}

void Reassembly::reset() {
  partials_.clear();
  bytes_ = 0;
}

}  // namespace clusterd
