// Convolutions of oneDNN as calls of XLA: the forward pass and the gradients of the input and of the kernel.
//
// Arrays are float32 and dense: x [batch, *spatial, channels], kernel [*kernel_size, in / groups, out]. The batch is
// divided into as many parts as XLA's pool has threads, and oneDNN computes each part on one thread. The parts of a
// kernel's gradient are added in their order, so that results have the same bits whenever the number of threads is the same.

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dnnl.hpp"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;
using dnnl::memory;
using Array = ffi::Buffer<ffi::F32>;
using Sizes = ffi::Span<const int64_t>;

enum Kind : int64_t { kForward, kInputGradient, kKernelGradient };

constexpr auto kFloat = memory::data_type::f32;
constexpr int64_t kLeastWork = 1 << 20;  // multiplications of a part, below which a thread is not worth its start

// How a kernel moves; one number for each spatial axis.
struct Geometry {
  Sizes stride, before, after, dilation;
  int64_t groups;
};

// Makes OpenMP compute on the calling thread alone, and restores its number of threads.
class OneThread {
 public:
  OneThread() : threads_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(threads_); }

 private:
  int threads_;
};

dnnl::engine& Engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// A compiled convolution. oneDNN chooses the kernel's layout, and `reorder` translates between it and the dense one.
struct Convolution {
  dnnl::primitive primitive;
  dnnl::reorder reorder;
  memory::desc x, kernel, chosen_kernel, y, scratch;
  std::string name;
};

memory::desc Channels(Sizes sizes, int64_t batch) {
  memory::dims dims{batch, sizes.back()};
  dims.insert(dims.end(), sizes.begin() + 1, sizes.end() - 1);
  using tag = memory::format_tag;
  return {dims, kFloat, dims.size() == 3 ? tag::nwc : dims.size() == 4 ? tag::nhwc : tag::ndhwc};
}

memory::desc Kernel(Sizes sizes, int64_t groups, memory::dims* dims) {
  const size_t rank = sizes.size() - 2;
  const int64_t in = sizes[rank], out = sizes[rank + 1];
  memory::dims strides;
  *dims = groups > 1 ? memory::dims{groups, out / groups, in} : memory::dims{out, in};
  strides = groups > 1 ? memory::dims{out / groups, 1, out} : memory::dims{1, out};
  for (size_t axis = 0; axis < rank; ++axis) {
    int64_t stride = in * out;
    for (size_t later = axis + 1; later < rank; ++later) stride *= sizes[later];
    dims->push_back(sizes[axis]);
    strides.push_back(stride);
  }
  return {*dims, kFloat, strides};
}

template <typename Description>
void Fill(Convolution* result, const Description& description, const memory::desc& chosen_kernel) {
  result->chosen_kernel = chosen_kernel;
  result->scratch = description.scratchpad_desc();
  result->name = description.impl_info_str();
}

std::shared_ptr<Convolution> Compile(Kind kind, Sizes x, Sizes kernel, Sizes y, int64_t batch, const Geometry& geometry) {
  auto list = [](Sizes numbers, int64_t minus) {
    memory::dims result(numbers.begin(), numbers.end());
    for (auto& number : result) number -= minus;
    return result;
  };
  const auto stride = list(geometry.stride, 0), gaps = list(geometry.dilation, 1);
  const auto before = list(geometry.before, 0), after = list(geometry.after, 0);
  auto result = std::make_shared<Convolution>();
  memory::dims kernel_dims;
  result->x = Channels(x, batch);
  result->y = Channels(y, batch);
  result->kernel = Kernel(kernel, geometry.groups, &kernel_dims);
  const memory::desc any(kernel_dims, kFloat, memory::format_tag::any);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const auto direct = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(Engine(), dnnl::prop_kind::forward_training, direct, result->x, any,
                                                          result->y, stride, gaps, before, after, attributes);
  if (kind == kForward) {
    result->primitive = dnnl::convolution_forward(forward);
    Fill(result.get(), forward, forward.weights_desc());
  } else if (kind == kInputGradient) {
    const dnnl::convolution_backward_data::primitive_desc backward(Engine(), direct, result->x, any, result->y, stride, gaps,
                                                                   before, after, forward, attributes);
    result->primitive = dnnl::convolution_backward_data(backward);
    Fill(result.get(), backward, backward.weights_desc());
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(Engine(), direct, result->x, any, result->y, stride, gaps,
                                                                      before, after, forward, attributes);
    result->primitive = dnnl::convolution_backward_weights(backward);
    Fill(result.get(), backward, backward.diff_weights_desc());
  }
  if (result->chosen_kernel != result->kernel) {
    const bool from_chosen = kind == kKernelGradient;
    const auto& from = from_chosen ? result->chosen_kernel : result->kernel;
    const auto& to = from_chosen ? result->kernel : result->chosen_kernel;
    result->reorder = dnnl::reorder(dnnl::reorder::primitive_desc(Engine(), from, Engine(), to));
  }
  return result;
}

std::shared_ptr<Convolution> Compiled(Kind kind, Sizes x, Sizes kernel, Sizes y, int64_t batch, const Geometry& geometry) {
  static std::mutex mutex;
  static std::map<std::vector<int64_t>, std::shared_ptr<Convolution>> known;
  std::vector<int64_t> key{kind, batch, geometry.groups};
  for (Sizes part : {x, kernel, y, geometry.stride, geometry.before, geometry.after, geometry.dilation})
    key.insert(key.end(), part.begin(), part.end());
  const std::lock_guard<std::mutex> lock(mutex);
  auto& entry = known[key];
  if (!entry) entry = Compile(kind, x, kernel, y, batch, geometry);
  return entry;
}

int64_t Product(Sizes sizes, size_t first = 0) {
  int64_t product = 1;
  for (size_t axis = first; axis < sizes.size(); ++axis) product *= sizes[axis];
  return product;
}

// Memory that a thread keeps for its next call.
float* Room(int which, size_t bytes) {
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  thread_local std::unique_ptr<float, Free> rooms[3];
  thread_local size_t sizes[3] = {0, 0, 0};
  if (sizes[which] < bytes) {
    const size_t pages = (bytes + 4095) / 4096 * 4096;
    rooms[which].reset(static_cast<float*>(std::aligned_alloc(4096, pages)));
    if (!rooms[which]) throw std::bad_alloc();
    sizes[which] = pages;
  }
  return rooms[which].get();
}

void ReorderKernel(const Convolution& convolution, float* from, float* to, bool from_chosen) {
  dnnl::stream stream(Engine());
  const memory a(from_chosen ? convolution.chosen_kernel : convolution.kernel, Engine(), from);
  const memory b(from_chosen ? convolution.kernel : convolution.chosen_kernel, Engine(), to);
  convolution.reorder.execute(stream, const_cast<memory&>(a), const_cast<memory&>(b));
  stream.wait();
}

void Execute(const Convolution& convolution, Kind kind, float* x, float* kernel, float* y) {
  thread_local dnnl::stream stream(Engine());
  const memory images(convolution.x, Engine(), x), weights(convolution.chosen_kernel, Engine(), kernel);
  const memory results(convolution.y, Engine(), y);
  const memory scratch(convolution.scratch, Engine(), Room(0, convolution.scratch.get_size()));
  convolution.primitive.execute(
      stream, {{kind == kInputGradient ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, images},
               {kind == kKernelGradient ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, weights},
               {kind == kForward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, results},
               {DNNL_ARG_SCRATCHPAD, scratch}});
  stream.wait();
}

// Whether the convolution is a product of matrices, of `[positions, in]` and `[in, out]`; oneDNN's products are faster than its
// convolutions of one tap.
bool IsProduct(Sizes kernel, const Geometry& geometry) {
  auto all = [](Sizes numbers, int64_t value) {
    return std::all_of(numbers.begin(), numbers.end(), [&](int64_t number) { return number == value; });
  };
  return geometry.groups == 1 && Product(kernel) == kernel[kernel.size() - 2] * kernel.back() && all(geometry.stride, 1) &&
         all(geometry.before, 0) && all(geometry.after, 0);
}

void Multiply(Kind kind, float* x, float* kernel, float* y, int64_t rows, int64_t in, int64_t out) {
  dnnl_status_t status;
  if (kind == kForward)
    status = dnnl_sgemm('N', 'N', rows, out, in, 1, x, in, kernel, out, 0, y, out);
  else if (kind == kInputGradient)
    status = dnnl_sgemm('N', 'T', rows, in, out, 1, y, out, kernel, out, 0, x, in);
  else
    status = dnnl_sgemm('T', 'N', in, out, rows, 1, x, in, y, out, 0, kernel, out);
  if (status != dnnl_success) throw std::runtime_error("the product failed");
}

// Computes all parts, on the calling thread and on those of the pool that are free. The calling thread takes every part that no
// other has begun, so it never waits for a thread that waits itself.
struct Work {
  std::function<void(int64_t)> compute;
  int64_t parts;
  std::atomic<int64_t> next{0};
  int64_t done = 0;
  std::string error;
  std::mutex mutex;
  std::condition_variable all_done;

  void Take() {
    for (int64_t part; (part = next++) < parts;) {
      std::string message;
      try {
        const OneThread one_thread;
        compute(part);
      } catch (const std::exception& failure) {
        message = failure.what();
      }
      const std::lock_guard<std::mutex> lock(mutex);
      if (!message.empty()) error = message;
      if (++done == parts) all_done.notify_all();
    }
  }
};

void InParts(ffi::ThreadPool& pool, int64_t parts, std::function<void(int64_t)> compute) {
  auto work = std::make_shared<Work>();
  work->compute = std::move(compute);
  work->parts = parts;
  for (int64_t helper = 1; helper < parts; ++helper) pool.Schedule([work] { work->Take(); });
  work->Take();
  std::unique_lock<std::mutex> lock(work->mutex);
  work->all_done.wait(lock, [&] { return work->done == work->parts; });
  if (!work->error.empty()) throw std::runtime_error(work->error);
}

int64_t Parts(Kind kind, Sizes x, Sizes kernel, Sizes y, int64_t threads) {
  const int64_t work = Product(y) / y.back() * Product(kernel) / kLeastWork;
  int64_t parts = std::min({threads, x[0], std::max<int64_t>(work, 1)});
  // each part of a kernel's gradient needs room for a whole one
  if (kind == kKernelGradient) parts = std::min(parts, std::max<int64_t>((Product(x) + Product(y)) / Product(kernel), 1));
  return std::max<int64_t>(parts, 1);
}

void Run(ffi::ThreadPool& pool, Kind kind, const Array& x, const Array& kernel, const Array& y, const Geometry& geometry) {
  const Sizes x_sizes = x.dimensions(), kernel_sizes = kernel.dimensions(), y_sizes = y.dimensions();
  const int64_t batch = x_sizes[0], parts = Parts(kind, x_sizes, kernel_sizes, y_sizes, pool.num_threads());
  const int64_t x_row = Product(x_sizes, 1), y_row = Product(y_sizes, 1), entries = Product(kernel_sizes);
  auto first = [&](int64_t part) { return batch * part / parts; };
  auto compiled = [&](int64_t part) {
    return Compiled(kind, x_sizes, kernel_sizes, y_sizes, first(part + 1) - first(part), geometry);
  };
  const bool is_product = IsProduct(kernel_sizes, geometry);
  auto multiply = [&](int64_t part, float* weights) {
    const int64_t rows = (first(part + 1) - first(part)) * (x_row / x_sizes.back());
    Multiply(kind, x.typed_data() + first(part) * x_row, weights, y.typed_data() + first(part) * y_row, rows, x_sizes.back(),
             y_sizes.back());
  };
  if (kind != kKernelGradient) {
    // parts of different sizes may be computed with kernels in different layouts
    InParts(pool, parts, [&](int64_t part) {
      if (is_product) return multiply(part, kernel.typed_data());
      const auto convolution = compiled(part);
      float* weights = kernel.typed_data();
      if (convolution->reorder) {
        weights = Room(1, convolution->chosen_kernel.get_size());
        ReorderKernel(*convolution, kernel.typed_data(), weights, false);
      }
      Execute(*convolution, kind, x.typed_data() + first(part) * x_row, weights, y.typed_data() + first(part) * y_row);
    });
    return;
  }
  std::vector<float> rest((parts - 1) * entries);
  InParts(pool, parts, [&](int64_t part) {
    float* dense = part == 0 ? kernel.typed_data() : rest.data() + (part - 1) * entries;
    if (is_product) return multiply(part, dense);
    const auto convolution = compiled(part);
    float* weights = convolution->reorder ? Room(1, convolution->chosen_kernel.get_size()) : dense;
    Execute(*convolution, kind, x.typed_data() + first(part) * x_row, weights, y.typed_data() + first(part) * y_row);
    if (convolution->reorder) ReorderKernel(*convolution, weights, dense, true);
  });
  float* total = kernel.typed_data();
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t entry = 0; entry < entries; ++entry) total[entry] += rest[(part - 1) * entries + entry];
}

template <Kind kind>
ffi::Error Call(ffi::ThreadPool pool, Array a, Array b, ffi::Result<Array> result, Sizes stride, Sizes before, Sizes after,
                Sizes dilation, int64_t groups) {
  const Geometry geometry{stride, before, after, dilation, groups};
  try {
    if constexpr (kind == kForward) Run(pool, kind, a, b, *result, geometry);
    if constexpr (kind == kInputGradient) Run(pool, kind, *result, b, a, geometry);
    if constexpr (kind == kKernelGradient) Run(pool, kind, a, *result, b, geometry);
  } catch (const std::exception& failure) {
    return ffi::Error::Internal(std::string("oneDNN: ") + failure.what());
  }
  return ffi::Error::Success();
}

auto Binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>()
      .Arg<Array>()
      .Ret<Array>()
      .Attr<Sizes>("stride")
      .Attr<Sizes>("before")
      .Attr<Sizes>("after")
      .Attr<Sizes>("dilation")
      .Attr<int64_t>("groups");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxnets_forward, Call<kForward>, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxnets_input_gradient, Call<kInputGradient>, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxnets_kernel_gradient, Call<kKernelGradient>, Binding());

// The name of oneDNN's routine for a convolution, of 0 or more characters below `room`. `sizes` holds those of x, the kernel and
// y, then stride, padding before and after, and dilation.
extern "C" void jaxnets_routine(int64_t kind, int64_t rank, const int64_t* sizes, int64_t groups, char* name, int64_t room) {
  const size_t axes = rank, all = rank + 2;
  const Sizes x(sizes, all), kernel(sizes + all, all), y(sizes + 2 * all, all);
  const int64_t* rest = sizes + 3 * all;
  const Geometry geometry{{rest, axes}, {rest + axes, axes}, {rest + 2 * axes, axes}, {rest + 3 * axes, axes}, groups};
  std::string found;
  try {
    const OneThread one_thread;
    found = Compiled(static_cast<Kind>(kind), x, kernel, y, x[0], geometry)->name;
  } catch (const std::exception&) {
    found = "";
  }
  name[found.copy(name, room - 1)] = 0;
}
