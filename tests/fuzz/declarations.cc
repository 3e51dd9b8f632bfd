// Declarations as an operator may write them: YAML, with one domain XML beside it.
// runs: 4000
#include "clusterd/config/declarations_file.h"

#include <algorithm>

#include "clusterd/base/assert.h"
#include "clusterd/codec/validate.h"
#include "clusterd/codec/wire.h"
#include "clusterd/model/merge.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/memory_file.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

constexpr std::string_view kDomain = R"(<domain type='kvm'><name>web1</name>
<uuid>7d0c6b1e-5a0f-4f4e-9d5e-000000000002</uuid><memory unit='GiB'>4</memory><vcpu>2</vcpu>
<os><type machine='q35'>hvm</type></os></domain>)";

Result<std::string> metadata_of(const std::string& agent) {
  if (agent != "fence_ipmilan") return Error{"agent is not installed"};
  return std::string(R"(<resource-agent><parameters>
<parameter name="action" required="1"><content type="string"/></parameter>
<parameter name="ip" required="1"><content type="string"/></parameter>
<parameter name="lanplus"><content type="boolean"/></parameter>
<parameter name="ipport"><content type="integer"/></parameter>
<parameter name="password"><content type="string"/></parameter>
</parameters></resource-agent>)");
}

struct Files {
  fuzz::MemoryFile yaml{200};
  fuzz::MemoryFile domain{201};  // "domain: 201" names it
  Files() { domain.write(kDomain); }
};

// What the loader accepts is accepted by the daemon, travels, and can be judged.
void check_accepted(const LoadedDeclarations& loaded) {
  ApplyConfiguration request;
  request.upsert = loaded.declarations;
  CLUSTERD_ASSERT(validate(ControlRequest(request)).empty());
  const Message message{Epoch(1), Incarnation(1), ClusterTime{}, change_of(request)};
  const auto decoded = decode(encode(message));
  const auto* back = std::get_if<Message>(&decoded);
  CLUSTERD_ASSERT(back != nullptr);
  CLUSTERD_ASSERT(std::get<ChangeConfiguration>(back->body).upsert == loaded.declarations);

  for (const Finding& finding : check(merge({}, loaded.declarations))) {
    fuzz::check_told(finding.message);
  }
}

}  // namespace

void fuzz_one(std::string_view input) {
  static Files files;
  const std::string path = files.yaml.path();
  files.yaml.write(input);
  const LoadedDeclarations loaded = load_declarations(path, metadata_of);
  fuzz::check_errors(loaded.errors, path, input);
  CLUSTERD_ASSERT(std::is_sorted(loaded.errors.begin(), loaded.errors.end()));
  if (!loaded.errors.empty()) return;
  check_accepted(loaded);
  // The whole file was read: what stands behind it is an error.
  files.yaml.write(std::string(input) + "\nno-such-key: 1\n");
  CLUSTERD_ASSERT(!load_declarations(path, metadata_of).errors.empty());
}
