#include "clusterd/base/frames.h"

#include "clusterd/base/archive.h"
#include "clusterd/base/assert.h"

namespace clusterd {
namespace {

Digest chained(Digest previous, std::string_view payload) {
  Hasher hasher;
  write(hasher, previous);
  write(hasher, static_cast<std::uint32_t>(payload.size()));
  hasher.bytes(payload.data(), payload.size());
  return hasher.digest();
}

}  // namespace

void append_frame(std::string& out, FrameEnd& end, std::string_view payload) {
  CLUSTERD_ASSERT(payload.size() <= kMaxFrame);
  const Digest chain = chained(end.chain, payload);
  StringSink header;
  write(header, static_cast<std::uint32_t>(payload.size()));
  write(header, chain);
  out += std::move(header).take();
  out.append(payload);
  end = {end.offset + kFrameHeader + payload.size(), chain};
}

std::optional<std::string_view> next_frame(std::string_view bytes, FrameEnd& end) {
  const std::string_view rest = bytes.substr(static_cast<std::size_t>(end.offset));
  Reader reader(rest);
  std::uint32_t length = 0;
  Digest chain;
  reader.read(length);
  reader.read(chain);
  if (!reader.ok() || length > kMaxFrame || rest.size() - kFrameHeader < length) {
    return std::nullopt;
  }
  const std::string_view payload = rest.substr(kFrameHeader, length);
  if (chained(end.chain, payload) != chain) return std::nullopt;
  end = {end.offset + kFrameHeader + length, chain};
  return payload;
}

}  // namespace clusterd
