// Random values of any type of the model, by the same list of members that the archive uses: a new
// field is filled without a line here.
//
// Most are valid (validate.h), some are not: a number at the end of its range, an empty name, a
// text with a control character. How many, the caller says.
//
// While it walks over a type it proves, at compile time, that `fields` lists every member: one
// that is missing there would be missing in the digest, on the disk and at a joiner.
#pragma once

#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "clusterd/base/archive.h"
#include "clusterd/base/prng.h"
#include "clusterd/model/limits.h"

namespace clusterd::test {

namespace random_detail {

// Stand for the initialiser of one member. Two kinds, since an optional and a variant also take
// what their contents take, and the compiler would find that ambiguous.
struct AnyPlain {
  template <class T>
  operator T() const;  // NOLINT: implicit on purpose; never defined
};
struct AnyWrapper {
  template <class T>
  requires(archive_detail::is_optional<T>::value || archive_detail::is_variant<T>::value)
  operator T() const;  // NOLINT: implicit on purpose; never defined
};

template <class T, class... Members>
constexpr std::size_t member_count() {
  if constexpr (requires { T{Members{}..., AnyPlain{}}; }) {
    return member_count<T, Members..., AnyPlain>();
  } else if constexpr (requires { T{Members{}..., AnyWrapper{}}; }) {
    return member_count<T, Members..., AnyWrapper>();
  } else {
    return sizeof...(Members);
  }
}

}  // namespace random_detail

class RandomValue {
 public:
  // `odd` of a thousand values are at the end of their type's range, or invalid.
  RandomValue(Prng& prng, std::uint64_t odd) : prng_(prng), odd_(odd) {}

  template <class T>
  [[nodiscard]] T make() {
    T value{};
    fill(value);
    return value;
  }

  template <class T>
  void fill(T& value) {
    using namespace archive_detail;
    if constexpr (std::is_same_v<T, bool>) {
      value = prng_.chance(500);
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(prng_.below(static_cast<std::uint64_t>(enum_last(T{})) + 1));
    } else if constexpr (std::is_integral_v<T>) {
      value = static_cast<T>(prng_.chance(odd_) ? prng_.next() : prng_.below(100));
    } else if constexpr (is_strong_id<T>::value) {
      fill(value.value);
      if (!prng_.chance(odd_)) ++value.value;  // zero is often no id
    } else if constexpr (std::is_same_v<T, Duration>) {
      value = Duration(number(limits::kDuration.count()));
    } else if constexpr (std::is_same_v<T, ClusterTime>) {
      value.ms = number(limits::kLatest.ms);
    } else if constexpr (std::is_same_v<T, Uuid>) {
      for (auto& byte : value.bytes) byte = static_cast<std::uint8_t>(prng_.below(256));
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = text();
    } else if constexpr (std::is_same_v<T, std::monostate>) {
    } else if constexpr (is_optional<T>::value) {
      value.reset();
      if (prng_.chance(500)) fill(value.emplace());
    } else if constexpr (is_list<T>::value) {
      value.resize(prng_.below(3));
      for (auto& element : value) fill(element);
    } else if constexpr (is_set<T>::value) {
      value.clear();
      for (auto n = prng_.below(3); n > 0; --n) value.insert(make<typename T::value_type>());
    } else if constexpr (is_map<T>::value) {
      value.clear();
      for (auto n = prng_.below(3); n > 0; --n) {
        fill(value[make<typename T::key_type>()]);
      }
    } else if constexpr (is_variant<T>::value) {
      fill_alternative(value, prng_.below(std::variant_size_v<T>));
    } else {
      T::fields(value, [this](auto&... members) {
        static_assert(random_detail::member_count<T>() == sizeof...(members),
                      "fields() does not list every member");
        (fill(members), ...);
      });
    }
  }

  // Precondition: index < the number of alternatives.
  template <class Variant>
  void fill_alternative(Variant& value, std::size_t index) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      static_cast<void>(((index == I ? (fill(value.template emplace<I>()), true) : false) || ...));
    }
    (std::make_index_sequence<std::variant_size_v<Variant>>{});
  }

 private:
  std::int64_t number(std::int64_t most) {
    if (prng_.chance(odd_)) return static_cast<std::int64_t>(prng_.next());
    return prng_.chance(100) ? most : prng_.between(0, 1000000);
  }

  std::string text() {
    if (prng_.chance(odd_)) {
      static const char* const kOdd[] = {"", "\x01", "\xff", "\xc3", "\xed\xa0\x80", "\x7f"};
      return kOdd[prng_.below(std::size(kOdd))];
    }
    static const char* const kPieces[] = {
        "n", "vm", "-", "7", " ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa7", "\t", "/"};
    std::string text = "x";
    for (auto n = prng_.below(6); n > 0; --n) text += kPieces[prng_.below(std::size(kPieces))];
    return text;
  }

  Prng& prng_;
  std::uint64_t odd_;
};

}  // namespace clusterd::test
