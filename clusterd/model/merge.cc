#include "clusterd/model/merge.h"
namespace clusterd { Configuration merge(const Configuration& c, const Declarations& d) {
 Configuration n=c; if(d.cluster) n.cluster=*d.cluster;
 for(auto&[k,v]:d.fence_devices) n.fence_devices[k]=v; for(auto&[k,v]:d.nodes) n.nodes[k]=v;
 for(auto&[k,v]:d.profiles) n.profiles[k]=v; for(auto&[k,v]:d.vms) n.vms[k]=v; for(auto&[k,v]:d.domain_xml) n.domain_xml[k]=v; return n; } }
