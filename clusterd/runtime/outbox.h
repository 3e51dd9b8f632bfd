// Outbox: what waits to be sent to the group.
//
// Values above Group::kMaxMessage are cut into fragments and throttled: only a few are under way
// at a time, and everything small overtakes them, so that a snapshot for a joiner does not hold
// up acknowledgements. Small messages keep their order among themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "clusterd/codec/wire.h"
#include "clusterd/ports/group.h"

namespace clusterd {

class Outbox {
 public:
  static constexpr std::size_t kMaxWaiting = 8192;                  // small messages
  static constexpr std::size_t kMaxWaitingBytes = 256 * 1024 * 1024;  // of both kinds
  static constexpr std::uint32_t kFragmentsUnderWay = 4;

  Outbox(Group& group, Incarnation self) : group_(group), self_(self) {}

  // False: the bound is reached, and the value is not taken. The group has then refused to take
  // anything for so long that the daemon should give up.
  [[nodiscard]] bool send(std::string bytes);
  // Sends what the group takes now.
  void pump();
  void on_writable();
  // One of our own fragments came back.
  void on_own_fragment();
  // A view change voids what is not yet sent: whoever still wants it asks anew.
  void drop_all();

  [[nodiscard]] bool empty() const { return small_.empty() && large_.empty(); }

 private:
  struct Large {
    std::uint64_t value = 0;
    std::string bytes;
    std::uint32_t next = 0;
    std::uint32_t total = 0;
  };

  // True: it is sent (or lost with the connection); false: the group takes nothing now.
  bool hand_over(std::string_view bytes);
  bool send_fragment(Large& large);

  Group& group_;
  Incarnation self_;
  std::deque<std::string> small_;
  std::deque<Large> large_;
  std::size_t waiting_bytes_ = 0;
  std::uint64_t next_value_ = 1;
  std::uint32_t under_way_ = 0;
  bool blocked_ = false;
};

}  // namespace clusterd
