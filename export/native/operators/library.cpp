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

struct InputType {
  int element, characteristic;
};

// One operator, `OrtCustomOp` first so that onnxruntime's pointer to it is a pointer to the whole.
struct Registered {
  OrtCustomOp table{};
  const char* name;
  std::unique_ptr<Operator> (*make)(const OrtKernelInfo*);
  std::vector<InputType> inputs;

  Registered(const char* given_name, std::unique_ptr<Operator> (*maker)(const OrtKernelInfo*),
             std::vector<InputType> input_types)
      : name(given_name), make(maker), inputs(std::move(input_types)) {
    table.version = ort::kApiVersion;
    table.GetName = [](const OrtCustomOp* op) { return of(op).name; };
    table.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
    table.GetInputType = [](const OrtCustomOp* op, size_t index) { return of(op).inputs[index].element; };
    table.GetInputTypeCount = [](const OrtCustomOp* op) { return of(op).inputs.size(); };
    table.GetOutputType = [](const OrtCustomOp*, size_t) -> int { return ort::kFloat; };
    table.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
    table.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    table.GetInputCharacteristic = [](const OrtCustomOp* op, size_t index) {
      return of(op).inputs[index].characteristic;
    };
    table.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) -> int { return ort::kRequired; };
    table.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return 0; };
    table.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
    table.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 0; };
    table.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
    table.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
    table.CreateKernelV2 = [](const OrtCustomOp* op, const OrtApiTable*, const OrtKernelInfo* info, void** kernel) {
      const Registered& self = of(op);
      return guarded(self.name, [&] { *kernel = new Kernel{self.name, self.make(info)}; });
    };
    table.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
      const auto& held = *static_cast<const Kernel*>(kernel);
      return guarded(held.name, [&] { held.body->compute(context); });
    };
    table.GetStartVersion = [](const OrtCustomOp*) { return 1; };
    table.GetEndVersion = [](const OrtCustomOp*) { return 1; };
  }

 private:
  struct Kernel {
    const char* name;
    std::unique_ptr<Operator> body;
  };
  static const Registered& of(const OrtCustomOp* op) { return *reinterpret_cast<const Registered*>(op); }
};

const Registered kOperators[] = {
#define OPERATOR(name, ...) {#name, make_##name, {__VA_ARGS__}},
#define REQUIRED(input, type) {ort::k##type, ort::kRequired}
#define WEIGHT(input, type) {ort::k##type, ort::kRequired}
#define OPTIONAL(input, type) {ort::k##type, ort::kOptional}
#include "operators.def"
};

}  // namespace

}  // namespace sdp

// Called by onnxruntime when a session's options name this library. The domain lives as long as the library, which on
// Linux stays loaded until the process ends.
extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                             const OrtApiBase* base) {
  using namespace sdp;
  static const OrtApiTable* const table = ort::api = base->GetApi(ort::kApiVersion);
  if (table == nullptr) return nullptr;  // older than 1.17: loading the model will name the missing operators
  static OrtCustomOpDomain* domain = nullptr;
  static OrtStatus* const failed = []() -> OrtStatus* {
    if (OrtStatus* status = ort::create_domain("sdp", &domain)) return status;
    for (const Registered& row : kOperators)
      if (OrtStatus* status = ort::add_op(domain, &row.table)) return status;
    return nullptr;
  }();
  if (failed != nullptr) return ort::create_status(ort::kFail, "the operators of domain sdp cannot be registered");
  return ort::add_domain(options, domain);
}
