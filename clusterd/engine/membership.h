// Membership: who may install a view, from which state, and when an Activate counts.
//
// Pure functions over the Hellos that the present view delivered (protocol R3, R8-R10, R13).
// Every member sees the same Hellos before the first Activate, so that all decide alike.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/base/time.h"
#include "clusterd/model/event.h"

namespace clusterd {

// A Hello as delivered in the present view.
struct HeardHello {
  Hello hello;
  Incarnation incarnation;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.hello, s.incarnation);
  }
};
using Hellos = std::map<NodeId, HeardHello>;

// R9: true when `a`'s state is to be preferred to `b`'s; ids break ties, lower is better.
[[nodiscard]] bool better_state(NodeId a_id, const Hello& a, NodeId b_id, const Hello& b);

// Members that may install the view, best state first: intact, of one cluster. The k-th one's
// turn comes after k deadlines (R13).
[[nodiscard]] std::vector<NodeId> candidates(const Hellos& hellos);

// R10: intact and accepted states on a strict majority of `nodes` (configured and nodelist), or
// a member that was synced through an unbroken chain of quorate views, in the winner's history.
[[nodiscard]] bool is_trusted(const Hellos& hellos, const Hello& winner, std::size_t nodes);

// The epoch of an Activate that `sender` sends now: greater than the active one and than every one
// that a member of its cluster has said it knows. So no epoch, and no operation id, comes twice in
// what a majority has known.
[[nodiscard]] Epoch next_epoch(const Hellos& hellos, NodeId sender, Epoch active);

// True if a Hello that comes when the view is active shows that the wrong state opened it: its
// sender has been in a later established epoch, or in one that the view believes to be the first to
// use. `opened_by`: what the sender of the opening Activate had said; `active`: the view's epoch.
// All members judge alike, since all have delivered the same.
[[nodiscard]] bool reopens(const Hello& late, const Hello& opened_by, Epoch active);

// The Activate that `self` would send. Members whose state equals its own become synced, all
// others join. Members that said nothing stand in it without boot and incarnation.
[[nodiscard]] Activate build_activate(NodeId self, const ViewChanged& view, const Hellos& hellos,
                                      const ClusterState& state, ClusterTime ring);

// Whether the first Activate of a view counts; empty: it does, otherwise why not.
[[nodiscard]] std::string check_activate(NodeId sender, const Activate& activate,
                                         const ViewChanged& view, const Hellos& hellos);

// Founding (R10): empty, or why no cluster can be founded in this view.
[[nodiscard]] std::string check_founding(const ViewChanged& view, const Hellos& hellos);

}  // namespace clusterd
