#include "clusterd/runtime/outbox.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace clusterd {
namespace {

constexpr std::size_t kPiece = Group::kMaxMessage - kFragmentOverhead;

}  // namespace

bool Outbox::send(std::string bytes) {
  if (waiting_bytes_ + bytes.size() > kMaxWaitingBytes) return false;
  if (bytes.size() <= Group::kMaxMessage) {
    if (small_.size() >= kMaxWaiting) return false;
    waiting_bytes_ += bytes.size();
    small_.push_back(std::move(bytes));
  } else {
    waiting_bytes_ += bytes.size();
    const auto total = static_cast<std::uint32_t>((bytes.size() + kPiece - 1) / kPiece);
    large_.push_back(Large{next_value_++, std::move(bytes), 0, total});
  }
  pump();
  return true;
}

void Outbox::pump() {
  while (!blocked_ && !small_.empty()) {
    if (!hand_over(small_.front())) return;
    // A group that failed has emptied the queue already.
    if (small_.empty()) return;
    waiting_bytes_ -= small_.front().size();
    small_.pop_front();
  }
  while (!blocked_ && !large_.empty() && under_way_ < kFragmentsUnderWay) {
    if (!send_fragment(large_.front()) || large_.empty()) return;
    if (large_.front().next < large_.front().total) continue;
    waiting_bytes_ -= large_.front().bytes.size();
    large_.pop_front();
  }
}

bool Outbox::send_fragment(Large& large) {
  Fragment fragment;
  fragment.incarnation = self_;
  fragment.value = large.value;
  fragment.number = large.next;
  fragment.total = large.total;
  fragment.bytes = large.bytes.substr(large.next * kPiece, kPiece);
  if (!hand_over(encode(fragment))) return false;
  if (large_.empty()) return true;
  ++large.next;
  ++under_way_;
  return true;
}

bool Outbox::hand_over(std::string_view bytes) {
  switch (group_.multicast(bytes)) {
    case SendStatus::queued:
      return true;
    case SendStatus::try_again:
      blocked_ = true;
      return false;
    case SendStatus::failed:
      drop_all();
      return true;
  }
  return true;
}

void Outbox::on_writable() {
  blocked_ = false;
  pump();
}

void Outbox::on_own_fragment() {
  if (under_way_ > 0) --under_way_;
  pump();
}

void Outbox::drop_all() {
  small_.clear();
  large_.clear();
  waiting_bytes_ = 0;
  under_way_ = 0;
  // The group says again whether it takes more.
  blocked_ = false;
}

}  // namespace clusterd
