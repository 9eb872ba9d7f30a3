// What onnxruntime sees: the entry point, and each operator as a table of functions that never throw.
#include <cstdio>
#include <exception>
#include <memory>

#include "operators.h"

namespace sdp {

namespace {

// Runs `body` and turns what it throws into a status that names the operator.
template <class Body>
OrtStatus* guarded(const char* name, const Body& body) {
  const char* reason = "";
  int code = ort::kFail;
  char message[320];
  try {
    body();
    return nullptr;
  } catch (const Refused& refused) {
    code = ort::kInvalidArgument;
    std::snprintf(message, sizeof message, "sdp.%s: %s", name, refused.what());
    return ort::create_status(code, message);
  } catch (const std::bad_alloc&) {
    reason = "out of memory";
  } catch (...) {
    reason = "unexpected failure";
  }
  std::snprintf(message, sizeof message, "sdp.%s: %s", name, reason);
  return ort::create_status(code, message);
}

// The inputs of an operator: their element types, and from which one on they may be missing.
struct Signature {
  const char* name;
  std::vector<int> inputs;
  size_t required;
};

// One operator, `OrtCustomOp` first so that onnxruntime's pointer to it is a pointer to the whole.
template <class Operator>
struct Registered {
  OrtCustomOp table{};
  Signature signature;

  explicit Registered(Signature given) : signature(std::move(given)) {
    table.version = ort::kApiVersion;
    table.GetName = [](const OrtCustomOp* op) { return of(op).signature.name; };
    table.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
    table.GetInputType = [](const OrtCustomOp* op, size_t index) { return of(op).signature.inputs[index]; };
    table.GetInputTypeCount = [](const OrtCustomOp* op) { return of(op).signature.inputs.size(); };
    table.GetOutputType = [](const OrtCustomOp*, size_t) -> int { return ort::kFloat; };
    table.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
    table.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    table.GetInputCharacteristic = [](const OrtCustomOp* op, size_t index) -> int {
      return index < of(op).signature.required ? ort::kRequired : ort::kOptional;
    };
    table.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) -> int { return ort::kRequired; };
    table.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return 0; };
    table.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
    table.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 0; };
    table.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
    table.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
    table.CreateKernelV2 = [](const OrtCustomOp* op, const OrtApiTable*, const OrtKernelInfo* info, void** kernel) {
      const char* name = of(op).signature.name;
      return guarded(name, [&] { *kernel = new Kernel{name, Operator(info)}; });
    };
    table.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
      const auto& held = *static_cast<const Kernel*>(kernel);
      return guarded(held.name, [&] { held.body.compute(context); });
    };
    table.GetStartVersion = [](const OrtCustomOp*) { return 1; };
    table.GetEndVersion = [](const OrtCustomOp*) { return 1; };
  }

 private:
  struct Kernel {
    const char* name;
    Operator body;
  };
  static const Registered& of(const OrtCustomOp* op) { return *reinterpret_cast<const Registered*>(op); }
};

using ort::kBool, ort::kFloat, ort::kInt64, ort::kInt8, ort::kUint16, ort::kUint8;

const Registered<Pack> kPack{{"Pack", {kFloat}, 1}};
const Registered<Unpack> kUnpack{{"Unpack", {kFloat, kInt64}, 2}};
const Registered<SparseLinear> kSparseLinear{
    {"SparseLinear", {kFloat, kFloat, kUint8, kUint8, kUint16, kFloat, kFloat, kFloat, kFloat}, 6}};
const Registered<SparseLinearInt8> kSparseLinearInt8{
    {"SparseLinearInt8", {kFloat, kInt8, kUint8, kUint8, kUint16, kFloat, kFloat, kFloat, kFloat, kFloat}, 7}};
const Registered<DenseLinear> kDenseLinear{{"DenseLinear", {kFloat, kFloat, kFloat, kFloat, kFloat, kFloat}, 3}};
const Registered<DenseLinearInt8> kDenseLinearInt8{
    {"DenseLinearInt8", {kFloat, kInt8, kFloat, kFloat, kFloat, kFloat, kFloat}, 4}};
const Registered<PackedAttention> kPackedAttention{
    {"PackedAttention", {kFloat, kFloat, kFloat, kInt64, kBool}, 4}};
const Registered<PackedAttentionInt8> kPackedAttentionInt8{
    {"PackedAttentionInt8", {kFloat, kFloat, kFloat, kInt64, kBool}, 4}};

}  // namespace

}  // namespace sdp

// Called by onnxruntime when a session's options name this library. The domain lives as long as the process, as the
// library itself does: sessions refer to both.
extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                             const OrtApiBase* base) {
  using namespace sdp;
  static const OrtApiTable* const table = ort::api = base->GetApi(ort::kApiVersion);
  if (table == nullptr) return nullptr;  // older than 1.17: loading the model will name the missing operators
  static OrtCustomOpDomain* domain = nullptr;
  static OrtStatus* const failed = []() -> OrtStatus* {
    if (OrtStatus* status = ort::create_domain("sdp", &domain)) return status;
    for (const OrtCustomOp* op : {&kPack.table, &kUnpack.table, &kSparseLinear.table, &kSparseLinearInt8.table,
                                  &kDenseLinear.table, &kDenseLinearInt8.table, &kPackedAttention.table,
                                  &kPackedAttentionInt8.table})
      if (OrtStatus* status = ort::add_op(domain, op)) return status;
    return nullptr;
  }();
  if (failed != nullptr) return ort::create_status(ort::kFail, "the operators of domain sdp cannot be registered");
  return ort::add_domain(options, domain);
}
