#include "fencing/agent/redact.h"

#include <string.h>

#include <algorithm>

namespace clusterd {

void OutputTail::append(std::string_view bytes) {
  bytes_.reserve(2 * kKept);  // never grows beyond, so that no copy of a secret is left behind
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, kKept);
    bytes.remove_prefix(part.size());
    bytes_.insert(bytes_.end(), part.begin(), part.end());
    if (bytes_.size() > kKept) {
      bytes_.erase(bytes_.begin(), bytes_.end() - static_cast<std::ptrdiff_t>(kKept));
    }
  }
}

OutputTail::~OutputTail() {
  bytes_.resize(bytes_.capacity());  // what was erased from the front lies behind the end
  if (!bytes_.empty()) explicit_bzero(bytes_.data(), bytes_.size());
}

std::string OutputTail::shown(const std::vector<WipedText>& secrets) const {
  const std::string_view all(bytes_.data(), bytes_.size());
  std::vector<bool> hidden(all.size(), false);
  for (const WipedText& secret : secrets) {
    const std::string_view value = secret.view();
    if (value.empty()) continue;
    for (auto at = all.find(value); at != all.npos; at = all.find(value, at + 1)) {
      std::fill_n(hidden.begin() + static_cast<std::ptrdiff_t>(at), value.size(), true);
    }
  }
  // Cut first and mask afterwards: masks have another length than what they hide, and the other
  // order could bring the first, unrecognisable part of a secret back into what is shown.
  std::string shown;
  const std::size_t first = all.size() > kShown ? all.size() - kShown : 0;
  for (std::size_t i = first; i < all.size(); ++i) {
    if (!hidden[i]) {
      shown += all[i];
    } else if (i == first || !hidden[i - 1]) {
      shown += "[hidden]";
    }
  }
  return shown;
}

}  // namespace clusterd
