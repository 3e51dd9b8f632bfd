// The canonical encoding: one way to turn a value of the model into bytes, and back.
//
// A struct takes part by listing its members once:
//     template <class Self, class F> static void fields(Self& s, F&& f) { f(s.a, s.b); }
// `write` serves the wire, the disk and the state digest alike (a Sink is anything with
// `bytes(const void*, size_t)`). Integers are little-endian and fixed width; containers carry a
// 32-bit count; a variant its index. Ordered containers only: equal values give equal bytes.
//
// Wire, log and digests have no room between the fields. Recordings, which a later version must
// still understand, have: a SizedSink writes each struct's length in front of it, and a Reader of
// Layout::sized leaves at their defaults what the writer did not know, and skips what only the
// writer knew. For that new members, enumerators and alternatives are listed last.
//
// `Reader` is total: any input gives a value or a failure, never undefined behaviour, never more
// memory than the input can justify, never a nesting deeper than the type itself.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "clusterd/base/strong_id.h"
#include "clusterd/base/time.h"
#include "clusterd/base/uuid.h"

namespace clusterd {

namespace archive_detail {
template <class T>
struct is_strong_id : std::false_type {};
template <class Tag, class Rep>
struct is_strong_id<StrongId<Tag, Rep>> : std::true_type {};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_list : std::false_type {};
template <class T>
struct is_list<std::vector<T>> : std::true_type {};
template <class T>
struct is_list<std::deque<T>> : std::true_type {};
template <class T>
struct is_pair : std::false_type {};
template <class A, class B>
struct is_pair<std::pair<A, B>> : std::true_type {};
template <class T>
struct is_set : std::false_type {};
template <class T>
struct is_set<std::set<T>> : std::true_type {};
template <class T>
struct is_map : std::false_type {};
template <class K, class V>
struct is_map<std::map<K, V>> : std::true_type {};
template <class T>
struct is_variant : std::false_type {};
template <class... Ts>
struct is_variant<std::variant<Ts...>> : std::true_type {};

// Every enum of the model names its last enumerator here, so that a decoded one is in range.
template <class T>
concept has_last = requires { enum_last(T{}); };

template <class Sink>
concept sizes_structs = requires(Sink sink) { sink.close(sink.open()); };
}  // namespace archive_detail

template <class Sink, class T>
void write(Sink& sink, const T& value) {
  using namespace archive_detail;
  if constexpr (std::is_same_v<T, bool>) {
    const std::uint8_t byte = value ? 1 : 0;
    sink.bytes(&byte, 1);
  } else if constexpr (std::is_enum_v<T>) {
    static_assert(has_last<T>, "give the enum an enum_last()");
    write(sink, static_cast<std::uint8_t>(value));
  } else if constexpr (std::is_integral_v<T>) {
    std::array<unsigned char, sizeof(T)> raw;
    auto bits = static_cast<std::uint64_t>(value);
    for (auto& byte : raw) {
      byte = static_cast<unsigned char>(bits & 0xff);
      bits >>= 8;
    }
    sink.bytes(raw.data(), raw.size());
  } else if constexpr (is_strong_id<T>::value) {
    write(sink, value.value);
  } else if constexpr (std::is_same_v<T, Duration>) {
    write(sink, static_cast<std::int64_t>(value.count()));
  } else if constexpr (std::is_same_v<T, Instant>) {
    write(sink, value.time_since_epoch());
  } else if constexpr (std::is_same_v<T, ClusterTime>) {
    write(sink, value.ms);
  } else if constexpr (std::is_same_v<T, Uuid>) {
    sink.bytes(value.bytes.data(), value.bytes.size());
  } else if constexpr (std::is_same_v<T, std::string>) {
    write(sink, static_cast<std::uint32_t>(value.size()));
    sink.bytes(value.data(), value.size());
  } else if constexpr (std::is_same_v<T, std::monostate>) {
  } else if constexpr (is_optional<T>::value) {
    write(sink, value.has_value());
    if (value) write(sink, *value);
  } else if constexpr (is_list<T>::value || is_set<T>::value) {
    write(sink, static_cast<std::uint32_t>(value.size()));
    for (const auto& element : value) write(sink, element);
  } else if constexpr (is_map<T>::value) {
    write(sink, static_cast<std::uint32_t>(value.size()));
    for (const auto& [key, element] : value) {
      write(sink, key);
      write(sink, element);
    }
  } else if constexpr (is_variant<T>::value) {
    write(sink, static_cast<std::uint8_t>(value.index()));
    std::visit([&](const auto& alternative) { write(sink, alternative); }, value);
  } else if constexpr (is_pair<T>::value) {
    write(sink, value.first);
    write(sink, value.second);
  } else if constexpr (sizes_structs<Sink>) {
    const std::size_t at = sink.open();
    T::fields(value, [&](const auto&... members) { (write(sink, members), ...); });
    sink.close(at);
  } else {
    T::fields(value, [&](const auto&... members) { (write(sink, members), ...); });
  }
}

enum class Layout { plain, sized };

class Reader {
 public:
  explicit Reader(std::string_view input, Layout layout = Layout::plain)
      : rest_(input), layout_(layout) {}

  // False once anything did not decode; the value is then unspecified and must not be used.
  [[nodiscard]] bool ok() const { return ok_; }
  // True when everything decoded and no byte is left over.
  [[nodiscard]] bool complete() const { return ok_ && rest_.empty(); }

  template <class T>
  void read(T& value) {
    using namespace archive_detail;
    if (!ok_) return;
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t byte = 0;
      read(byte);
      if (byte > 1) ok_ = false;
      value = byte == 1;
    } else if constexpr (std::is_enum_v<T>) {
      std::uint8_t byte = 0;
      read(byte);
      if (byte > static_cast<std::uint8_t>(enum_last(T{}))) ok_ = false;
      if (ok_) value = static_cast<T>(byte);
    } else if constexpr (std::is_integral_v<T>) {
      std::array<unsigned char, sizeof(T)> raw{};
      take(raw.data(), raw.size());
      std::uint64_t bits = 0;
      for (std::size_t i = raw.size(); i-- > 0;) bits = (bits << 8) | raw[i];
      value = static_cast<T>(bits);
    } else if constexpr (is_strong_id<T>::value) {
      read(value.value);
    } else if constexpr (std::is_same_v<T, Duration>) {
      std::int64_t count = 0;
      read(count);
      value = Duration(count);
    } else if constexpr (std::is_same_v<T, Instant>) {
      Duration since{};
      read(since);
      value = Instant(since);
    } else if constexpr (std::is_same_v<T, ClusterTime>) {
      read(value.ms);
    } else if constexpr (std::is_same_v<T, Uuid>) {
      take(value.bytes.data(), value.bytes.size());
    } else if constexpr (std::is_same_v<T, std::string>) {
      const std::uint32_t size = count();
      if (!ok_) return;
      value.assign(rest_.substr(0, size));
      rest_.remove_prefix(size);
    } else if constexpr (std::is_same_v<T, std::monostate>) {
    } else if constexpr (is_optional<T>::value) {
      bool present = false;
      read(present);
      value.reset();  // its default may be a value
      if (ok_ && present) read(value.emplace());
    } else if constexpr (is_list<T>::value) {
      const std::uint32_t size = count();
      value.clear();
      for (std::uint32_t i = 0; ok_ && i < size; ++i) read(value.emplace_back());
    } else if constexpr (is_set<T>::value) {
      const std::uint32_t size = count();
      value.clear();
      for (std::uint32_t i = 0; ok_ && i < size; ++i) {
        typename T::value_type element{};
        read(element);
        // Only the canonical (ascending) order is accepted: one value, one encoding.
        if (!value.empty() && !(*value.rbegin() < element)) ok_ = false;
        value.insert(value.end(), std::move(element));
      }
    } else if constexpr (is_map<T>::value) {
      const std::uint32_t size = count();
      value.clear();
      for (std::uint32_t i = 0; ok_ && i < size; ++i) {
        typename T::key_type key{};
        read(key);
        if (!value.empty() && !(value.rbegin()->first < key)) ok_ = false;
        read(value.emplace_hint(value.end(), std::move(key), typename T::mapped_type{})->second);
      }
    } else if constexpr (is_variant<T>::value) {
      std::uint8_t index = 0;
      read(index);
      read_alternative(value, index, std::make_index_sequence<std::variant_size_v<T>>{});
    } else if constexpr (is_pair<T>::value) {
      read(value.first);
      read(value.second);
    } else {
      read_struct(value);
    }
  }

 private:
  template <class T>
  void read_struct(T& value) {
    if (layout_ == Layout::plain) {
      T::fields(value, [&](auto&... members) { (read(members), ...); });
      return;
    }
    const std::uint32_t size = count();
    if (!ok_) return;
    const std::string_view behind = rest_.substr(size);
    rest_ = rest_.substr(0, size);
    T::fields(value, [&](auto&... members) { (read_known(members), ...); });
    rest_ = behind;
  }
  // A member that the writer of a sized struct did not know keeps its default.
  template <class T>
  void read_known(T& member) {
    if (!rest_.empty()) read(member);
  }
  void take(void* out, std::size_t size) {
    if (!ok_ || rest_.size() < size) {
      ok_ = false;
      return;
    }
    std::memcpy(out, rest_.data(), size);
    rest_.remove_prefix(size);
  }
  // A count is believed only as far as the remaining input can hold that many bytes.
  std::uint32_t count() {
    std::uint32_t n = 0;
    read(n);
    if (n > rest_.size()) ok_ = false;
    return ok_ ? n : 0;
  }
  template <class T, std::size_t... I>
  void read_alternative(T& value, std::size_t index, std::index_sequence<I...>) {
    const bool known =
        ((index == I ? (read(value.template emplace<I>()), true) : false) || ...);
    if (!known) ok_ = false;
  }

  std::string_view rest_;
  Layout layout_;
  bool ok_ = true;
};

// Appends to a string; the Sink of wire and disk.
class StringSink {
 public:
  void bytes(const void* data, std::size_t size) {
    out_.append(static_cast<const char*>(data), size);
  }
  [[nodiscard]] std::string take() && { return std::move(out_); }

 protected:
  std::string out_;
};

// The same for Layout::sized.
class SizedSink : public StringSink {
 public:
  // Begins a struct; close() takes what this gave, and writes its length there.
  [[nodiscard]] std::size_t open() {
    out_.append(sizeof(std::uint32_t), '\0');
    return out_.size();
  }
  void close(std::size_t at) {
    const auto size = static_cast<std::uint32_t>(out_.size() - at);
    for (std::size_t i = 0; i < sizeof size; ++i) {
      out_[at - sizeof size + i] = static_cast<char>(size >> (8 * i));
    }
  }
};

}  // namespace clusterd
