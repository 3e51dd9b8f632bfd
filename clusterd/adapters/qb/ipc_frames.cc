#include "clusterd/adapters/qb/ipc_frames.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "clusterd/base/archive.h"
#include "clusterd/base/assert.h"

namespace clusterd::ipc {

namespace {

struct Header {
  std::uint32_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t number = 0;
  std::uint32_t length = 0;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.magic, s.version, s.number, s.length);
  }
};

template <class T>
std::string pack_any(std::uint32_t number, const T& value) {
  StringSink body;
  write(body, value);
  const std::string bytes = std::move(body).take();
  Header header;
  header.number = number;
  header.length = static_cast<std::uint32_t>(bytes.size());
  StringSink message;
  write(message, header);
  message.bytes(bytes.data(), bytes.size());
  return std::move(message).take();
}

Header read_header(std::string_view payload) {
  Header header;
  Reader reader(payload.substr(0, kHeaderSize));
  reader.read(header);
  return header;
}

}  // namespace

std::string pack(std::uint32_t number, const ControlRequest& request) {
  return pack_any(number, request);
}
std::string pack(std::uint32_t number, const ControlReply& reply) {
  return pack_any(number, reply);
}

std::string cut_frame(std::string_view message, std::size_t offset) {
  CLUSTERD_ASSERT(offset < message.size());
  const std::string_view piece = message.substr(offset, kFramePayload);
  FrameHeader header{};
  header.qb.id = kFrameId;
  header.qb.size = static_cast<std::int32_t>(sizeof header + piece.size());
  header.qb.error = 0;
  std::string frame(reinterpret_cast<const char*>(&header), sizeof header);
  frame.append(piece);
  return frame;
}

std::size_t payload_size(std::string_view frame) { return frame.size() - sizeof(FrameHeader); }

std::variant<std::string_view, BadFrame> open_frame(const void* data, std::size_t claimed,
                                                    std::size_t buffer_size) {
  if (claimed <= sizeof(FrameHeader)) return BadFrame{"a frame without content"};
  // Larger than the ring: the bytes are not there, and must not be touched.
  if (claimed > std::min(buffer_size, sizeof(FrameHeader) + kFramePayload)) {
    return BadFrame{"a frame that claims " + std::to_string(claimed) + " bytes"};
  }
  FrameHeader header;
  std::memcpy(&header, data, sizeof header);
  if (header.qb.id != kFrameId) {
    return BadFrame{"a frame of unknown kind " + std::to_string(header.qb.id)};
  }
  return std::string_view(static_cast<const char*>(data) + sizeof header,
                          claimed - sizeof header);
}

std::size_t Assembler::announced_length(std::string_view first_payload) {
  return first_payload.size() < kHeaderSize ? 0 : read_header(first_payload).length;
}

Progress Assembler::feed(std::string_view payload, std::size_t limit) {
  if (!in_message_) {
    if (payload.size() < kHeaderSize) return Broken{0, "shorter than a header"};
    const Header header = read_header(payload);
    if (header.magic != kMagic) return Broken{0, "not clusterd's control protocol"};
    if (header.version != kVersion) {
      return Broken{header.number, "control protocol version " + std::to_string(header.version) +
                                       ", this daemon speaks version " +
                                       std::to_string(kVersion) +
                                       ": use the clusterctl of the same release"};
    }
    if (header.length > limit) {
      return Broken{header.number, "a message of " + std::to_string(header.length) +
                                       " bytes, at most " + std::to_string(limit) +
                                       " are accepted"};
    }
    in_message_ = true;
    number_ = header.number;
    length_ = header.length;
    payload.remove_prefix(kHeaderSize);
  }
  if (payload.size() > length_ - body_.size()) {
    return Broken{number_, "more bytes than the header announced"};
  }
  body_.append(payload);
  if (body_.size() < length_) return Incomplete{};
  in_message_ = false;
  return Whole{number_, std::exchange(body_, {})};
}

}  // namespace clusterd::ipc
