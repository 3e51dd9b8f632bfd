// Framing between clusterctl and the daemon, shared by both ends.
//
// A message is a header {magic, version, number, length} and `length` bytes of the canonical
// archive of a ControlRequest or ControlReply. It travels in frames: libqb's IPC wants messages
// far smaller than a declaration may be. A frame carries bytes of one message only; `number` is
// given by the client to its request and repeated in every reply to it.
#pragma once

#include <qb/qbipc_common.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "clusterd/model/control.h"

namespace clusterd::ipc {

constexpr std::uint32_t kMagic = 0x31444c43;  // "CLD1" on the wire
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderSize = 16;
constexpr std::size_t kFramePayload = 48 * 1024;
constexpr std::size_t kBufferSize = 256 * 1024;  // libqb's ring per direction: some frames
constexpr std::int32_t kFrameId = 1;             // libqb keeps negative ids for itself

// A declaration has at most 64 MiB; the rest is for what stands around it.
constexpr std::size_t kMaxMessage = 65 * 1024 * 1024;
// Reading requests hold a name or two; strangers get no more memory than that.
constexpr std::size_t kMaxMessageOfStranger = 64 * 1024;

[[nodiscard]] std::string pack(std::uint32_t number, const ControlRequest& request);
[[nodiscard]] std::string pack(std::uint32_t number, const ControlReply& reply);

struct FrameHeader {
  qb_ipc_response_header qb;  // the larger of libqb's two headers, used in both directions
};

// One frame with as much of `message` from `offset` on as fits. Precondition: offset < size.
[[nodiscard]] std::string cut_frame(std::string_view message, std::size_t offset);
[[nodiscard]] std::size_t payload_size(std::string_view frame);

// The payload of a received frame, or why it is none. `claimed` is what the frame says of its own
// size: libqb passes it on unchecked.
struct BadFrame {
  std::string reason;
};
[[nodiscard]] std::variant<std::string_view, BadFrame> open_frame(const void* data,
                                                                 std::size_t claimed,
                                                                 std::size_t buffer_size);

struct Incomplete {};
struct Whole {
  std::uint32_t number = 0;
  std::string body;
};
// The stream cannot be trusted any more: `number` is 0 if not even that could be read.
struct Broken {
  std::uint32_t number = 0;
  std::string reason;
};
using Progress = std::variant<Incomplete, Whole, Broken>;

// Puts messages together again. After Broken it must not be used further.
class Assembler {
 public:
  // At most `limit` bytes of body are accepted; asked when a message begins.
  [[nodiscard]] Progress feed(std::string_view payload, std::size_t limit);
  // Length that the message being received announced; 0 if none is.
  [[nodiscard]] static std::size_t announced_length(std::string_view first_payload);
  [[nodiscard]] bool in_message() const { return in_message_; }

 private:
  bool in_message_ = false;
  std::uint32_t number_ = 0;
  std::size_t length_ = 0;
  std::string body_;
};

}  // namespace clusterd::ipc
