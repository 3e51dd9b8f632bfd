// Declarations over a configuration: applying the same again changes nothing, nothing that is not
// mentioned is lost, and the judgement of any content is total.
#include <catch2/catch.hpp>

#include "clusterd/codec/json_config.h"
#include "clusterd/model/check.h"
#include "clusterd/model/merge.h"
#include "clusterd/model/resolve.h"
#include "tests/support/random_value.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

// What a file that mentions everything of a configuration says. There is no exporter to files.
Declarations all_of(const Configuration& config) {
  return {config.cluster,  config.fence_devices, config.nodes,
          config.profiles, config.vms,           config.domain_xml};
}

// Names that several draws share, so that merging replaces as well as adds.
template <class Map>
void share_names(Prng& prng, Map& map) {
  Map renamed;
  for (auto& [name, value] : map) renamed["shared" + std::to_string(prng.below(3))] = value;
  map = std::move(renamed);
}

template <class T>
T random_declarations(Prng& prng) {
  auto all = RandomValue(prng, 10).make<T>();
  share_names(prng, all.fence_devices);
  share_names(prng, all.nodes);
  share_names(prng, all.profiles);
  share_names(prng, all.vms);
  return all;
}

template <class Map>
void check_overlay(const Map& before, const Map& said, const Map& after) {
  for (const auto& [name, value] : after) {
    REQUIRE((said.contains(name) ? said.at(name) == value : before.at(name) == value));
  }
  for (const auto& [name, ignored] : before) REQUIRE(after.contains(name));
  for (const auto& [name, ignored] : said) REQUIRE(after.contains(name));
}

}  // namespace

TEST_CASE("declarations property: a merge keeps what is not mentioned, and twice is once") {
  std::size_t replaced = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    const auto stored = random_declarations<Configuration>(prng);
    const auto first = random_declarations<Declarations>(prng);
    const auto second = random_declarations<Declarations>(prng);
    const Configuration once = merge(stored, first);
    REQUIRE(merge(once, first) == once);
    REQUIRE(merge(stored, Declarations{}) == stored);
    REQUIRE(merge(stored, all_of(stored)) == stored);
    REQUIRE(merge(once, all_of(once)) == once);
    // What it makes of nothing and of the old one differs by the old one's alone.
    Configuration anew = merge(Configuration{}, all_of(once));
    anew.version = once.version;
    REQUIRE(anew == once);
    // Two files as one: the later one wins.
    Configuration both = merge(Configuration{}, first);
    both = merge(both, second);
    if (!first.cluster && !second.cluster) both.cluster = stored.cluster;
    both.version = stored.version;
    REQUIRE(merge(stored, all_of(both)) == merge(once, second));
    check_overlay(stored.nodes, first.nodes, once.nodes);
    check_overlay(stored.vms, first.vms, once.vms);
    check_overlay(stored.profiles, first.profiles, once.profiles);
    check_overlay(stored.fence_devices, first.fence_devices, once.fence_devices);
    for (const auto& [name, ignored] : first.vms) replaced += stored.vms.contains(name) ? 1 : 0;
  }
  CHECK(replaced > 50);
}

TEST_CASE("declarations property: any content is judged, resolved and shown, each time alike") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    const auto config = random_declarations<Configuration>(prng);
    const auto messages = [&] {
      std::string all;
      for (const Finding& finding : check(config)) {
        all += finding.path + ": " + finding.message + "\n";
      }
      return all;
    };
    REQUIRE(messages() == messages());
    for (const auto& [name, vm] : config.vms) {
      const ResolvedVm resolved = resolve(config, vm);
      // The VM's own word stands before its profile's.
      if (vm.policy.priority) REQUIRE(resolved.priority == *vm.policy.priority);
      if (vm.policy.state) REQUIRE(resolved.state == *vm.policy.state);
      if (vm.policy.memory) REQUIRE(resolved.size.memory == *vm.policy.memory);
    }
    Configuration other = config;
    other.cluster.timers.ack_timeout += Duration(1);
    REQUIRE(configuration_json(other) != configuration_json(config));
  }
}
