#include "clusterd/engine/cpu_pools.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace clusterd {
namespace {

auto cpu_of(const HostFacts& facts) {
  return std::tie(facts.cpu_vendor, facts.cpu_model, facts.cpu_features);
}

bool is_known(const HostFacts& facts) {
  return facts.cpu_features != Digest{} && !facts.cpu_model.empty();
}

// "EPYC-Milan-3fa9c1": six digits tell apart what has the same model.
std::string name_of(const HostFacts& facts) {
  std::string digits;
  for (int shift = 60; shift >= 40; shift -= 4) {
    digits += "0123456789abcdef"[facts.cpu_features.value >> shift & 0xfU];
  }
  return facts.cpu_model + "-" + digits;
}

}  // namespace

std::vector<CpuPool> cpu_pools(const ClusterState& state) {
  std::map<decltype(cpu_of(HostFacts{})), CpuPool> pools;
  for (const auto& [id, node] : state.nodes) {
    const HostFacts& facts = node.facts;
    if (!is_known(facts)) continue;
    CpuPool& pool = pools[cpu_of(facts)];
    if (pool.nodes.empty()) pool.name = name_of(facts);
    pool.nodes.push_back(id);
  }
  std::vector<CpuPool> result;
  for (auto& entry : pools) result.push_back(std::move(entry.second));
  std::sort(result.begin(), result.end(),
            [](const CpuPool& a, const CpuPool& b) { return a.nodes.front() < b.nodes.front(); });
  return result;
}

bool may_share_pool(const HostFacts& a, const HostFacts& b) {
  return !is_known(a) || !is_known(b) || cpu_of(a) == cpu_of(b);
}

}  // namespace clusterd
