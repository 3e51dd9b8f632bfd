// fields(): what a struct does not list there would be lost on the wire, on disk and in recordings.
#include <catch2/catch.hpp>

#include <set>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "clusterd/base/archive.h"
#include "clusterd/engine/controller_impl.h"
#include "clusterd/model/effect.h"

using namespace clusterd;

namespace {

// Converts to whatever an aggregate's member is; the count of them that it takes is its size.
// Source of the idea: A. Polukhin, Boost.PFR.
struct Anything {
  template <class T>
  operator T() const;
};

template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires {
    T{(static_cast<void>(I), Anything{})...};
  };
}

template <class T, std::size_t N = 0>
constexpr std::size_t members() {
  if constexpr (takes<T>(std::make_index_sequence<N + 1>{})) {
    return members<T, N + 1>();
  } else {
    return N;
  }
}

// Counts the structs below a type, each once, and checks that they list all their members.
class Walk {
 public:
  template <class T>
  void visit() {
    using namespace archive_detail;
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T> || is_strong_id<T>::value ||
                  std::is_same_v<T, Duration> || std::is_same_v<T, Instant> ||
                  std::is_same_v<T, ClusterTime> || std::is_same_v<T, Uuid> ||
                  std::is_same_v<T, std::string> || std::is_same_v<T, std::monostate>) {
      // no members of ours
    } else if constexpr (is_optional<T>::value || is_list<T>::value || is_set<T>::value) {
      visit<typename T::value_type>();
    } else if constexpr (is_map<T>::value) {
      visit<typename T::key_type>();
      visit<typename T::mapped_type>();
    } else if constexpr (is_pair<T>::value) {
      visit<typename T::first_type>();
      visit<typename T::second_type>();
    } else if constexpr (is_variant<T>::value) {
      alternatives(static_cast<T*>(nullptr));
    } else {
      if (!seen_.insert(typeid(T).name()).second) return;
      const T value{};
      T::fields(value, [this](const auto&... listed) {
        INFO(typeid(T).name());
        CHECK(sizeof...(listed) == members<T>());
        (visit<std::remove_cvref_t<decltype(listed)>>(), ...);
      });
    }
  }
  [[nodiscard]] std::size_t count() const { return seen_.size(); }

 private:
  template <class... Ts>
  void alternatives(std::variant<Ts...>*) {
    (visit<Ts>(), ...);
  }

  std::set<std::string> seen_;
};

struct Forgetful {
  int kept = 0;
  std::optional<OpId> forgotten;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.kept);
  }
};
static_assert(members<Forgetful>() == 2);

}  // namespace

TEST_CASE("fields: every struct that travels, is stored or is recorded lists all its members") {
  Walk walk;
  walk.visit<Event>();
  walk.visit<Effect>();
  walk.visit<ClusterState>();
  walk.visit<NodeIdentity>();
  walk.visit<ControllerMemory>();
  CHECK(walk.count() > 100);
}
