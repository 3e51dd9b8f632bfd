#include "clusterd/model/merge.h"

namespace clusterd {
namespace {

template <class Map>
void overlay(Map& stored, const Map& mentioned) {
  for (const auto& [key, value] : mentioned) stored[key] = value;
}

}  // namespace

Configuration merge(const Configuration& stored, const Declarations& mentioned) {
  Configuration merged = stored;
  if (mentioned.cluster) merged.cluster = *mentioned.cluster;
  overlay(merged.fence_devices, mentioned.fence_devices);
  overlay(merged.nodes, mentioned.nodes);
  overlay(merged.profiles, mentioned.profiles);
  overlay(merged.vms, mentioned.vms);
  overlay(merged.domain_xml, mentioned.domain_xml);
  return merged;
}

}  // namespace clusterd
