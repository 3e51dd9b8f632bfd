#include "clusterd/codec/wire.h"

#include "clusterd/codec/header.h"
#include "clusterd/codec/validate.h"

namespace clusterd {
namespace {

using namespace codec_detail;

template <class T>
std::string encode_as(std::string_view magic, const T& value) {
  StringSink sink;
  write_header(sink, magic);
  write(sink, value);
  return std::move(sink).take();
}

template <class T>
std::variant<T, WireError> decode_as(std::string_view magic, std::string_view bytes) {
  if (bytes.size() < kHeaderSize) return WireError{WireFault::too_short, ""};
  if (bytes.size() > limits::kMessage) return WireError{WireFault::too_long, ""};
  if (bytes.substr(0, magic.size()) != magic) return WireError{WireFault::not_ours, ""};
  if (const auto version = version_of(bytes); version != kVersion) {
    return WireError{WireFault::version, std::to_string(version)};
  }
  T value;
  Reader reader(bytes.substr(kHeaderSize));
  reader.read(value);
  if (!reader.complete()) return WireError{WireFault::malformed, ""};
  return value;
}

}  // namespace

std::string_view name_of(WireFault fault) {
  switch (fault) {
    case WireFault::too_short: return "too_short";
    case WireFault::too_long: return "too_long";
    case WireFault::not_ours: return "not_ours";
    case WireFault::version: return "version";
    case WireFault::malformed: return "malformed";
    case WireFault::invalid: return "invalid";
  }
  return "malformed";
}

std::string WireError::sentence() const {
  std::string text(name_of(fault));
  if (!detail.empty()) text += ": " + detail;
  return text;
}

std::string encode(const Message& message) { return encode_as(kMessageMagic, message); }

std::variant<Message, WireError> decode(std::string_view bytes) {
  auto decoded = decode_as<Message>(kMessageMagic, bytes);
  if (const auto* message = std::get_if<Message>(&decoded)) {
    if (auto problem = validate(*message); !problem.empty()) {
      return WireError{WireFault::invalid, std::move(problem)};
    }
  }
  return decoded;
}

std::string encode(const Fragment& fragment) { return encode_as(kFragmentMagic, fragment); }

bool is_fragment(std::string_view bytes) {
  return bytes.substr(0, kFragmentMagic.size()) == kFragmentMagic;
}

std::variant<Fragment, WireError> decode_fragment(std::string_view bytes) {
  auto decoded = decode_as<Fragment>(kFragmentMagic, bytes);
  if (const auto* fragment = std::get_if<Fragment>(&decoded)) {
    if (fragment->incarnation.value == 0 || fragment->bytes.empty() ||
        fragment->number >= fragment->total) {
      return WireError{WireFault::invalid, "a fragment out of its bounds"};
    }
    // Every piece has at least one byte, so that this bounds the whole as well.
    if (fragment->total > limits::kMessage) return WireError{WireFault::too_long, ""};
  }
  return decoded;
}

}  // namespace clusterd
