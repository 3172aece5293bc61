// A plain C border around libtorch. Managed code reaches every ATen operator through one boxed call, so this file
// stays the same whichever operators are used, and links against any libtorch from 1.13 on, CPU or CUDA.
//
// Three rules hold everywhere below:
//  - A tensor handle is a TensorImpl* that owns one reference; zero is the undefined tensor. Arguments are borrowed,
//    results are owned by the caller.
//  - No C++ exception crosses the border: a failing call returns a negative number (or zero, for handles) and leaves
//    its message for inf_last_error, per thread.
//  - Anything that may fail is wrapped by guarded(); what is left bare only reads fields.

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/api/include/torch/cuda.h>
#include <torch/csrc/api/include/torch/version.h>
#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <dlfcn.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

// ---- The wire format: Interop/NativeValue.cs mirrors these two.

enum Tag : int32_t {
  kNone = 0, kTensor = 1, kInt = 2, kDouble = 3, kBool = 4, kString = 5, kIntList = 6, kDoubleList = 7,
  kBoolList = 8, kTensorList = 9, kDevice = 10, kGenerator = 11,
};

struct Value {
  int32_t tag;
  int32_t length;  // of a list or string; the index of a device
  union {
    int64_t i;
    double d;
    void* p;
  };
};
static_assert(sizeof(Value) == 16, "the managed side relies on this layout");

// ---- Errors

thread_local std::string last_error;

void remember_error(const char* text) {
  const char* end = std::strchr(text, '\n');
  last_error.assign(text, end ? static_cast<size_t>(end - text) : std::strlen(text));
}

template <class F>
auto guarded(F body) -> decltype(body()) {
  using Result = decltype(body());
  try {
    return body();
  } catch (const c10::Error& e) {
    remember_error(e.what_without_backtrace());
  } catch (const std::exception& e) {
    remember_error(e.what());
  } catch (...) {
    remember_error("unknown native error");
  }
  if constexpr (std::is_pointer_v<Result>) {
    return nullptr;
  } else {
    return static_cast<Result>(-1);
  }
}

// ---- Handles

std::atomic<int64_t> live_handles{0};

c10::TensorImpl* give(at::Tensor tensor) {
  if (!tensor.defined()) return nullptr;
  live_handles.fetch_add(1, std::memory_order_relaxed);
  return tensor.unsafeReleaseTensorImpl();
}

at::Tensor borrow(void* handle) {
  if (!handle) return at::Tensor();
  return at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::unsafe_reclaim_from_nonowning(
      static_cast<c10::TensorImpl*>(handle)));
}

std::vector<at::Tensor> borrow_all(void* const* handles, int64_t count) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) tensors.push_back(borrow(handles[i]));
  return tensors;
}

c10::Device device_of(int32_t type, int32_t index) {
  return c10::Device(static_cast<c10::DeviceType>(type), static_cast<c10::DeviceIndex>(index));
}

// libtorch's optional is its own class up to 2.1 and std::optional later; take whichever its headers use.
template <class>
struct optional_like;
template <template <class> class Optional, class Inner>
struct optional_like<Optional<Inner>> {
  template <class T>
  using of = Optional<T>;
};
using OptionalTensor = optional_like<std::decay_t<decltype(std::declval<const c10::Argument&>().N())>>::of<at::Tensor>;

// ---- Operators

// What an argument's schema type wants that the wire value alone does not say.
enum class Wants : uint8_t { as_is, floating, int_list, float_list, bool_list, tensor_list, optional_tensor_list };

struct Operator {
  c10::OperatorHandle handle;
  std::vector<Wants> wants;
};

bool is_int(const c10::Type& type) {
  return type.kind() == c10::TypeKind::IntType || std::strcmp(c10::typeKindToString(type.kind()), "SymIntType") == 0;
}

Wants wants_of(const c10::TypePtr& declared) {
  c10::TypePtr type = declared;
  if (auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
  if (type->kind() == c10::TypeKind::FloatType) return Wants::floating;
  auto list = type->cast<c10::ListType>();
  if (!list) return Wants::as_is;
  const auto element = list->getElementType();
  if (is_int(*element)) return Wants::int_list;
  switch (element->kind()) {
    case c10::TypeKind::FloatType: return Wants::float_list;
    case c10::TypeKind::BoolType: return Wants::bool_list;
    case c10::TypeKind::TensorType: return Wants::tensor_list;
    case c10::TypeKind::OptionalType: return Wants::optional_tensor_list;
    default: return Wants::as_is;
  }
}

c10::IValue tensor_list(const Value& value, Wants wants) {
  auto handles = static_cast<void* const*>(value.p);
  if (wants == Wants::optional_tensor_list) {
    c10::List<OptionalTensor> list;
    list.reserve(static_cast<size_t>(value.length));
    for (int32_t i = 0; i < value.length; i++) {
      if (handles[i]) list.push_back(OptionalTensor(borrow(handles[i])));
      else list.push_back(OptionalTensor());
    }
    return c10::IValue(std::move(list));
  }
  c10::List<at::Tensor> list;
  list.reserve(static_cast<size_t>(value.length));
  for (int32_t i = 0; i < value.length; i++) list.push_back(borrow(handles[i]));
  return c10::IValue(std::move(list));
}

template <class T, class Raw>
c10::IValue list_of(const Raw* values, int64_t count) {
  c10::List<T> list;
  list.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) list.push_back(static_cast<T>(values[i]));
  return c10::IValue(std::move(list));
}

c10::IValue unpack(const Value& value, Wants wants) {
  switch (value.tag) {
    case kNone: return c10::IValue();
    case kTensor: return c10::IValue(borrow(value.p));
    case kInt:
      if (wants == Wants::floating) return c10::IValue(static_cast<double>(value.i));
      if (wants == Wants::int_list) return list_of<int64_t>(&value.i, 1);
      return c10::IValue(value.i);
    case kDouble: return c10::IValue(value.d);
    case kBool: return c10::IValue(value.i != 0);
    case kString: return c10::IValue(std::string(static_cast<const char*>(value.p), static_cast<size_t>(value.length)));
    case kIntList: return list_of<int64_t>(static_cast<const int64_t*>(value.p), value.length);
    case kDoubleList: return list_of<double>(static_cast<const double*>(value.p), value.length);
    case kBoolList: return list_of<bool>(static_cast<const uint8_t*>(value.p), value.length);
    case kTensorList: return tensor_list(value, wants);
    case kDevice: return c10::IValue(device_of(static_cast<int32_t>(value.i), value.length));
    case kGenerator: return c10::IValue(*static_cast<at::Generator*>(value.p));
    default: TORCH_CHECK(false, "unknown argument tag ", value.tag);
  }
}

void** give_all(const std::vector<at::Tensor>& tensors) {
  auto handles = std::make_unique<void*[]>(tensors.size());
  for (size_t i = 0; i < tensors.size(); i++) handles[i] = give(tensors[i]);
  return handles.release();
}

Value pack(c10::IValue&& result) {
  Value value{};
  if (result.isTensor()) {
    value.tag = kTensor;
    value.p = give(std::move(result).toTensor());
  } else if (result.isInt()) {
    value.tag = kInt;
    value.i = result.toInt();
  } else if (result.isDouble()) {
    value.tag = kDouble;
    value.d = result.toDouble();
  } else if (result.isBool()) {
    value.tag = kBool;
    value.i = result.toBool();
  } else if (result.isTensorList()) {
    const auto tensors = result.toTensorVector();
    value.tag = kTensorList;
    value.length = static_cast<int32_t>(tensors.size());
    value.p = give_all(tensors);
  } else if (!result.isNone()) {
    TORCH_CHECK(false, "results of type ", result.tagKind(), " are not supported");
  }
  return value;
}

at::Generator& generator_of(void* handle) { return *static_cast<at::Generator*>(handle); }

}  // namespace

#define INF_API extern "C" __attribute__((visibility("default")))

INF_API const char* inf_last_error() { return last_error.c_str(); }
INF_API const char* inf_libtorch_version() { return TORCH_VERSION; }
INF_API int64_t inf_live_handles() { return live_handles.load(std::memory_order_relaxed); }

// ---- Calls

INF_API void* inf_operator_find(const char* name, const char* overload) {
  return guarded([&]() -> void* {
    auto found = c10::Dispatcher::singleton().findSchema({name, overload});
    TORCH_CHECK(found.has_value(), "libtorch ", TORCH_VERSION, " has no operator ", name,
                *overload ? "." : "", overload);
    auto op = std::make_unique<Operator>(Operator{*found, {}});
    for (const auto& argument : found->schema().arguments()) op->wants.push_back(wants_of(argument.type()));
    return op.release();
  });
}

// Returns the number of results written (the first `capacity`; the rest is dropped), or -1.
INF_API int32_t inf_operator_call(void* handle, const Value* arguments, int32_t count, Value* results, int32_t capacity) {
  return guarded([&]() -> int32_t {
    const auto& op = *static_cast<const Operator*>(handle);
    const auto& schema = op.handle.schema();
    const auto& declared = schema.arguments();
    TORCH_CHECK(static_cast<size_t>(count) <= declared.size(), schema.name(), " takes at most ", declared.size(),
                " arguments, not ", count);
    torch::jit::Stack stack;
    stack.reserve(declared.size());
    for (int32_t i = 0; i < count; i++) stack.push_back(unpack(arguments[i], op.wants[static_cast<size_t>(i)]));
    for (size_t i = static_cast<size_t>(count); i < declared.size(); i++) {
      TORCH_CHECK(declared[i].default_value().has_value(), schema.name(), " needs its argument ", declared[i].name());
      stack.push_back(*declared[i].default_value());
    }
    op.handle.callBoxed(&stack);
    int32_t written = 0;
    for (; written < capacity && static_cast<size_t>(written) < stack.size(); written++)
      results[written] = pack(std::move(stack[static_cast<size_t>(written)]));
    return written;
  });
}

INF_API void inf_handles_free(void** handles) { delete[] handles; }

// ---- Tensors: life

INF_API void inf_tensor_free(void* handle) {
  if (!handle) return;
  live_handles.fetch_sub(1, std::memory_order_relaxed);
  // Deleters of foreign storage could throw in theory; a destructor that throws would end the process anyway.
  c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(static_cast<c10::TensorImpl*>(handle));
}

INF_API void* inf_tensor_alias(void* handle) {
  return guarded([&]() -> void* { return give(borrow(handle)); });
}

INF_API void* inf_tensor_from_memory(const void* data, int64_t bytes, const int64_t* sizes, int32_t dims, int32_t dtype) {
  return guarded([&]() -> void* {
    auto tensor = at::empty(at::IntArrayRef(sizes, static_cast<size_t>(dims)),
                            at::TensorOptions().dtype(static_cast<c10::ScalarType>(dtype)));
    TORCH_CHECK(static_cast<int64_t>(tensor.nbytes()) == bytes, "expected ", tensor.nbytes(), " bytes, got ", bytes);
    if (bytes > 0) std::memcpy(tensor.data_ptr(), data, static_cast<size_t>(bytes));
    return give(std::move(tensor));
  });
}

// ---- Tensors: what they are

INF_API int32_t inf_tensor_dim(void* handle) { return static_cast<int32_t>(static_cast<c10::TensorImpl*>(handle)->dim()); }
INF_API int64_t inf_tensor_numel(void* handle) { return static_cast<c10::TensorImpl*>(handle)->numel(); }
INF_API int64_t inf_tensor_element_size(void* handle) {
  return static_cast<int64_t>(static_cast<c10::TensorImpl*>(handle)->dtype().itemsize());
}
INF_API int32_t inf_tensor_dtype(void* handle) {
  return static_cast<int32_t>(c10::typeMetaToScalarType(static_cast<c10::TensorImpl*>(handle)->dtype()));
}
INF_API int32_t inf_tensor_requires_grad(void* handle) { return static_cast<c10::TensorImpl*>(handle)->requires_grad(); }

INF_API int32_t inf_tensor_sizes(void* handle, int64_t* sizes) {
  return guarded([&]() -> int32_t {
    const auto from = static_cast<c10::TensorImpl*>(handle)->sizes();
    std::copy(from.begin(), from.end(), sizes);
    return 0;
  });
}

INF_API int32_t inf_tensor_strides(void* handle, int64_t* strides) {
  return guarded([&]() -> int32_t {
    const auto from = static_cast<c10::TensorImpl*>(handle)->strides();
    std::copy(from.begin(), from.end(), strides);
    return 0;
  });
}

INF_API int64_t inf_tensor_storage_offset(void* handle) {
  return guarded([&]() -> int64_t { return static_cast<c10::TensorImpl*>(handle)->storage_offset(); });
}

INF_API int32_t inf_tensor_device(void* handle, int32_t* index) {
  return guarded([&]() -> int32_t {
    const auto device = static_cast<c10::TensorImpl*>(handle)->device();
    *index = device.index();
    return static_cast<int32_t>(device.type());
  });
}

INF_API int32_t inf_tensor_is_sparse(void* handle) {
  return guarded([&]() -> int32_t { return static_cast<c10::TensorImpl*>(handle)->is_sparse(); });
}

INF_API int32_t inf_tensor_is_contiguous(void* handle) {
  return guarded([&]() -> int32_t { return static_cast<c10::TensorImpl*>(handle)->is_contiguous(); });
}

INF_API int32_t inf_tensor_data(void* handle, void** data) {
  return guarded([&]() -> int32_t {
    *data = borrow(handle).data_ptr();
    return 0;
  });
}

// ---- Tensors: autograd

INF_API int32_t inf_tensor_is_leaf(void* handle) {
  return guarded([&]() -> int32_t { return borrow(handle).is_leaf(); });
}

INF_API int32_t inf_tensor_set_requires_grad(void* handle, int32_t value) {
  return guarded([&]() -> int32_t {
    borrow(handle).set_requires_grad(value != 0);
    return 0;
  });
}

INF_API int32_t inf_tensor_retain_grad(void* handle) {
  return guarded([&]() -> int32_t {
    borrow(handle).retain_grad();
    return 0;
  });
}

INF_API int32_t inf_tensor_grad(void* handle, void** grad) {
  return guarded([&]() -> int32_t {
    *grad = give(borrow(handle).grad());
    return 0;
  });
}

INF_API int32_t inf_tensor_set_grad(void* handle, void* grad) {
  return guarded([&]() -> int32_t {
    borrow(handle).mutable_grad() = borrow(grad);
    return 0;
  });
}

INF_API int32_t inf_autograd_grad(void* const* outputs, int32_t output_count, void* const* inputs, int32_t input_count,
                                  void* const* grad_outputs, int32_t grad_output_count, int32_t retain_graph,
                                  int32_t create_graph, int32_t allow_unused, void** gradients) {
  return guarded([&]() -> int32_t {
    auto found = torch::autograd::grad(borrow_all(outputs, output_count), borrow_all(inputs, input_count),
                                       borrow_all(grad_outputs, grad_output_count), retain_graph != 0,
                                       create_graph != 0, allow_unused != 0);
    for (size_t i = 0; i < found.size(); i++) gradients[i] = give(std::move(found[i]));
    return 0;
  });
}

INF_API int32_t inf_autograd_backward(void* const* outputs, int32_t output_count, void* const* grad_outputs,
                                      int32_t grad_output_count, int32_t retain_graph, int32_t create_graph,
                                      void* const* inputs, int32_t input_count) {
  return guarded([&]() -> int32_t {
    torch::autograd::backward(borrow_all(outputs, output_count), borrow_all(grad_outputs, grad_output_count),
                              retain_graph != 0, create_graph != 0, borrow_all(inputs, input_count));
    return 0;
  });
}

INF_API int32_t inf_grad_mode() { return c10::GradMode::is_enabled(); }
INF_API void inf_set_grad_mode(int32_t enabled) { c10::GradMode::set_enabled(enabled != 0); }
INF_API int32_t inf_inference_mode() { return c10::InferenceMode::is_enabled(); }
INF_API void* inf_inference_mode_enter(int32_t enabled) {
  return guarded([&]() -> void* { return new c10::InferenceMode(enabled != 0); });
}
INF_API void inf_inference_mode_leave(void* guard) { delete static_cast<c10::InferenceMode*>(guard); }
INF_API int32_t inf_anomaly_mode() { return torch::autograd::AnomalyMode::is_enabled(); }
INF_API int32_t inf_anomaly_checks_nan() { return torch::autograd::AnomalyMode::should_check_nan(); }
INF_API void inf_set_anomaly_mode(int32_t enabled, int32_t check_nan) {
  torch::autograd::AnomalyMode::set_enabled(enabled != 0, check_nan != 0);
}

// ---- Random numbers

INF_API int32_t inf_manual_seed(int64_t seed) {
  return guarded([&]() -> int32_t {
    at::manual_seed(static_cast<uint64_t>(seed));  // the CPU and, where there are any, all CUDA devices
    return 0;
  });
}

// The default generator of a device, or a new one with its own state.
INF_API void* inf_generator(int32_t type, int32_t index, int32_t fresh) {
  return guarded([&]() -> void* {
    auto generator = at::globalContext().defaultGenerator(device_of(type, index));
    return new at::Generator(fresh ? generator.clone() : generator);
  });
}

INF_API void inf_generator_free(void* generator) { delete static_cast<at::Generator*>(generator); }

INF_API int32_t inf_generator_set_seed(void* handle, int64_t seed) {
  return guarded([&]() -> int32_t {
    auto& generator = generator_of(handle);
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(static_cast<uint64_t>(seed));
    return 0;
  });
}

// fresh: draw a new seed from the system first.
INF_API int32_t inf_generator_seed(void* handle, int32_t fresh, int64_t* seed) {
  return guarded([&]() -> int32_t {
    auto& generator = generator_of(handle);
    std::lock_guard<std::mutex> lock(generator.mutex());
    *seed = static_cast<int64_t>(fresh ? generator.seed() : generator.current_seed());
    return 0;
  });
}

INF_API void* inf_generator_state(void* handle) {
  return guarded([&]() -> void* {
    auto& generator = generator_of(handle);
    std::lock_guard<std::mutex> lock(generator.mutex());
    return give(generator.get_state());
  });
}

INF_API int32_t inf_generator_set_state(void* handle, void* state) {
  return guarded([&]() -> int32_t {
    auto& generator = generator_of(handle);
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(borrow(state));
    return 0;
  });
}

// ---- The process: threads, devices, defaults

INF_API int32_t inf_num_threads() { return guarded([&]() -> int32_t { return at::get_num_threads(); }); }
// with_blas: OpenBLAS built on pthreads has a pool of its own, which libtorch does not know.
INF_API int32_t inf_set_num_threads(int32_t count, int32_t with_blas) {
  return guarded([&]() -> int32_t {
    at::set_num_threads(count);
    static const auto set_blas_threads =
        reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
    if (with_blas && set_blas_threads) set_blas_threads(count);
    return 0;
  });
}
INF_API int32_t inf_num_interop_threads() {
  return guarded([&]() -> int32_t { return static_cast<int32_t>(at::get_num_interop_threads()); });
}

INF_API int32_t inf_cuda_device_count() {
  return guarded([&]() -> int32_t { return static_cast<int32_t>(torch::cuda::device_count()); });
}
INF_API int32_t inf_cuda_synchronize(int64_t index) {
  return guarded([&]() -> int32_t {
    torch::cuda::synchronize(index);
    return 0;
  });
}
INF_API int32_t inf_cuda_manual_seed(int64_t seed, int32_t all) {
  return guarded([&]() -> int32_t {
    if (all) torch::cuda::manual_seed_all(static_cast<uint64_t>(seed));
    else torch::cuda::manual_seed(static_cast<uint64_t>(seed));
    return 0;
  });
}
// which: 0 = TF32 in matrix products, 1 = TF32 in cuDNN. value < 0 only reads.
INF_API int32_t inf_allow_tf32(int32_t which, int32_t value) {
  return guarded([&]() -> int32_t {
    auto& context = at::globalContext();
    if (value >= 0) which == 0 ? context.setAllowTF32CuBLAS(value != 0) : context.setAllowTF32CuDNN(value != 0);
    return which == 0 ? context.allowTF32CuBLAS() : context.allowTF32CuDNN();
  });
}
