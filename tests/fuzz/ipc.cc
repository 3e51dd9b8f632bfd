// What a local client may send to the daemon: frames, the messages in them, and the requests and
// replies in those.
// runs: 25000
#include <algorithm>
#include <vector>

#include "clusterd/adapters/qb/ipc_frames.h"
#include "clusterd/base/archive.h"
#include "clusterd/base/assert.h"
#include "clusterd/codec/validate.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

constexpr std::size_t kLimit = 4096;

// A frame that is just as large as its content, so that the sanitizer sees what reads beyond it.
std::variant<std::string, ipc::BadFrame> opened(const std::vector<char>& frame,
                                                std::size_t claimed) {
  const auto payload = ipc::open_frame(frame.data(), claimed, frame.size());
  if (const auto* bad = std::get_if<ipc::BadFrame>(&payload)) return *bad;
  return std::string(std::get<std::string_view>(payload));
}

std::vector<char> exact(std::string_view bytes) {
  return {bytes.begin(), bytes.end()};
}

// Packed and cut into frames, it arrives as it was.
template <class T>
void check_travels(const T& value, std::string_view body) {
  const std::string message = ipc::pack(77, value);
  ipc::Assembler assembler;
  for (std::size_t offset = 0; offset < message.size();) {
    const std::string frame = ipc::cut_frame(message, offset);
    offset += ipc::payload_size(frame);
    const auto payload = opened(exact(frame), frame.size());
    const auto progress = assembler.feed(std::get<std::string>(payload), ipc::kMaxMessage);
    const auto* whole = std::get_if<ipc::Whole>(&progress);
    CLUSTERD_ASSERT((whole != nullptr) == (offset == message.size()));
    if (whole == nullptr) continue;
    CLUSTERD_ASSERT(whole->number == 77);
    CLUSTERD_ASSERT(whole->body == body);
  }
}

template <class T>
bool decodes(std::string_view body, T& value) {
  Reader reader(body);
  reader.read(value);
  if (!reader.complete()) return false;
  CLUSTERD_ASSERT(ipc::pack(77, value).substr(ipc::kHeaderSize) == body);
  check_travels(value, body);
  return true;
}

void check_body(std::string_view body) {
  ControlRequest request;
  if (decodes(body, request)) {
    const std::string problem = validate(request);
    if (!problem.empty()) fuzz::check_told(problem);
    const bool changes = std::holds_alternative<VmCommand>(request);
    CLUSTERD_ASSERT(!changes || !only_reads(request));
    CLUSTERD_ASSERT(!std::holds_alternative<WhatIf>(request) || only_reads(request));
  }
  ControlReply reply;
  decodes(body, reply);
}

}  // namespace

// The whole input as a body; and a script of frames: what a frame claims beyond its true size, and
// its bytes as a chunk.
void fuzz_one(std::string_view input) {
  check_body(input);
  fuzz::Script script(input);
  ipc::Assembler assembler;
  while (!script.at_end()) {
    const std::size_t more = script.byte();
    const std::vector<char> frame = exact(script.chunk());
    const auto payload = opened(frame, frame.size() + more);
    if (const auto* bad = std::get_if<ipc::BadFrame>(&payload)) {
      fuzz::check_told(bad->reason);
      continue;
    }
    const auto& bytes = std::get<std::string>(payload);
    if (!assembler.in_message()) static_cast<void>(ipc::Assembler::announced_length(bytes));
    const auto progress = assembler.feed(bytes, kLimit);
    if (const auto* broken = std::get_if<ipc::Broken>(&progress)) {
      fuzz::check_told(broken->reason);
      return;
    }
    const auto* whole = std::get_if<ipc::Whole>(&progress);
    CLUSTERD_ASSERT((whole == nullptr) == assembler.in_message());
    if (whole == nullptr) continue;
    CLUSTERD_ASSERT(whole->body.size() <= kLimit);
    check_body(whole->body);
  }
}
