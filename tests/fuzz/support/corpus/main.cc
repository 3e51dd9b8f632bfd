// fuzz_corpus FOLDER: writes the seed inputs of the fuzz targets that come out of clusterd's own
// encoders, as FOLDER/TARGET/NAME. The other seeds are files that people wrote.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "clusterd/adapters/qb/ipc_frames.h"
#include "clusterd/adapters/store/format.h"
#include "clusterd/base/assert.h"
#include "clusterd/codec/record.h"
#include "clusterd/codec/recording.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/model/merge.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/unit/codec/samples.h"

using namespace clusterd;
using fuzz::chunk_of;

void fuzz_one(std::string_view) {}  // for the library's entry point, which nobody calls here

namespace {

class Corpus {
 public:
  explicit Corpus(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void add(const std::string& target, const std::string& name, std::string_view bytes) const {
    std::filesystem::create_directories(folder_ / target);
    std::ofstream out(folder_ / target / name, std::ios::binary);
    out << bytes;
    CLUSTERD_ASSERT(out.good());
  }

 private:
  std::filesystem::path folder_;
};

std::string bytes_of(std::initializer_list<unsigned> values) {
  std::string bytes;
  for (const unsigned value : values) bytes += static_cast<char>(value);
  return bytes;
}

void add_wire(const Corpus& corpus) {
  for (const Message& message : test::sample_messages()) {
    corpus.add("wire", "message-" + std::to_string(message.body.index()), encode(message));
  }
  const auto advance = encode(test::sample_of(Advance{}));
  corpus.add("wire", "record", encode_record(NodeId(4), advance));
  corpus.add("wire", "fragment", encode(Fragment{Incarnation(3), 9, 1, 3, "piece"}));
}

std::string step(unsigned value, unsigned number, unsigned total, std::string_view bytes) {
  return bytes_of({value, number, total}) + chunk_of(bytes);
}

void add_fragments(const Corpus& corpus) {
  corpus.add("fragments", "in-order",
             step(0, 0, 3, "aa") + step(0, 1, 3, "bb") + step(0, 2, 3, "c"));
  corpus.add("fragments", "two-senders",
             step(0, 0, 2, "a") + step(1, 0, 2, "x") + step(0, 1, 2, "b") + step(1, 1, 2, "y"));
  corpus.add("fragments", "view-change",
             step(4, 0, 2, "a") + bytes_of({255}) + step(4, 1, 2, "b") + step(4, 0, 1, "c"));
}

// The body of a snapshot: the target puts the header and the checksum before it.
void add_snapshots(const Corpus& corpus) {
  const auto body = [](const ClusterState& state) { return encode_state(state).substr(14); };
  corpus.add("snapshot", "blank", body({}));
  ClusterState state = test::ClusterBuilder()
                           .node("n1")
                           .node("n2")
                           .backup("n3")
                           .vm("web1", {.on = "n1"})
                           .lose("n1")
                           .build();
  corpus.add("snapshot", "lost-node", body(state));
  state.config = merge({}, test::sample_declarations());
  HistoryEvent event{
      1,  ClusterTime{1767225600123}, EventKind::node_dead, NodeId(1), {}, "n1 is proven dead",
      {}, {{"bmc-n1", Outcome::done}}};
  state.history[1] = event;
  FailoverRecord& failover = state.failovers[1];
  failover.id = 1;
  failover.fenced[NodeId(1)] = ClusterTime{1767225600123};
  failover.proof[NodeId(1)] = "bmc-n1 says off";
  failover.vms[VmId{test::numbered_uuid(3, 1)}] = VmRecovery{};
  corpus.add("snapshot", "failover", body(state));
  corpus.add("snapshot", "whole-file", encode_state(state));
}

void add_store(const Corpus& corpus) {
  const std::string record = encode_record(NodeId(4), encode(test::sample_of(Advance{})));
  const std::string three = chunk_of(record) + chunk_of("second") + chunk_of("");
  corpus.add("store", "whole", bytes_of({1, 3, 3}) + three);
  corpus.add("store", "changed-byte", bytes_of({1, 3, 2}) + three + bytes_of({1, 4, 48, 0, 1}));
  corpus.add("store", "changed-position", bytes_of({1, 3, 2}) + three + bytes_of({1, 0, 16, 0, 1}));
  corpus.add("store", "torn", bytes_of({1, 3, 1}) + three + bytes_of({2, 40, 48, 0}));
  corpus.add("store", "longer", bytes_of({1, 3, 3}) + three + bytes_of({3, 0, 0, 0, 0, 9, 9, 9}));
  corpus.add("store", "snapshot", encode_snapshot(StoreGeneration(2), "state"));
}

// A recording as it is, and its frames' payloads as chunks.
void add_recordings(const Corpus& corpus) {
  SegmentWriter writer;
  const Message message = test::sample_of(Advance{});
  std::string bytes = writer.begin({"0.1.0", 7, "checkpoint"});
  bytes += writer.add(Told{Instant(Duration(1000)), Delivered{{NodeId(1), 7}, message, Digest(4)}});
  bytes += writer.add(Did{Digest(5)});
  bytes += writer.add(Told{Instant(Duration(1500)), InputsDrained{}});
  corpus.add("recording", "whole-file", bytes);
  FrameEnd end{8, digest_of(std::string_view(bytes).substr(0, 8))};
  std::string chunks;
  while (const auto frame = next_frame(bytes, end)) chunks += chunk_of(*frame);
  corpus.add("recording", "frames", chunks);
}

void add_ipc(const Corpus& corpus) {
  ApplyConfiguration change;
  change.upsert = test::sample_declarations();
  const std::vector<ControlRequest> requests{GetStatus{},
                                             ExplainVm{"web1"},
                                             GetHistory{7, ClusterTime{1}, "web1", "n1", true},
                                             GetFailovers{3},
                                             change,
                                             VmCommand{"web1", VmOrderKind::restart, true},
                                             WhatIf{{"n1", "n2"}},
                                             NodeCommand{"n1", NodeOrderKind::confirm_dead, true}};
  for (const auto& request : requests) {
    const std::string name = "request-" + std::to_string(request.index());
    const std::string message = ipc::pack(5, request);
    corpus.add("ipc", name, message.substr(ipc::kHeaderSize));
  }
  const std::string framed = ipc::cut_frame(ipc::pack(5, requests.back()), 0);
  corpus.add("ipc", "framed", bytes_of({0}) + chunk_of(framed));
  const std::string reply = ipc::pack(5, ControlReply{ReplyCode::refused, "no", "{}", true});
  corpus.add("ipc", "reply", reply.substr(ipc::kHeaderSize));
  // One message in two frames, and a frame that claims too much.
  const std::string frame = ipc::cut_frame(reply, 0);
  const std::string head = frame.substr(0, sizeof(ipc::FrameHeader));
  const std::size_t half = sizeof(ipc::FrameHeader) + ipc::kHeaderSize + 2;
  corpus.add("ipc", "two-frames",
             bytes_of({0}) + chunk_of(frame.substr(0, half)) + bytes_of({0}) +
                 chunk_of(head + frame.substr(half)));
  corpus.add("ipc", "claims-too-much", bytes_of({200}) + chunk_of(frame));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_corpus FOLDER\n";
    return 2;
  }
  const Corpus corpus(argv[1]);
  add_wire(corpus);
  add_fragments(corpus);
  add_snapshots(corpus);
  add_store(corpus);
  add_recordings(corpus);
  add_ipc(corpus);
  return 0;
}
