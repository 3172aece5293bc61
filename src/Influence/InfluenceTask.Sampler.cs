using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence;

public sealed partial record InfluenceTask
{
    /// <summary>
    /// Draws labels from the model's own predictions, as the true Fisher wants them. Every draw is keyed by (seed, example id,
    /// position): batch size, order and resumption change nothing.
    /// </summary>
    /// <remarks>Made by the library and handed to <see cref="InfluenceTask.SampledLoss"/>; valid during that call only.</remarks>
    public sealed class Sampler
    {
        private readonly long _seed;
        private readonly IReadOnlyList<long> _ids;
        private int _draws;

        internal Sampler(long seed, IReadOnlyList<long> ids) => (_seed, _ids) = (seed, ids);

        /// <summary>Class indices from softmax(logits).</summary>
        /// <param name="logits"><c>[B, ..., C]</c>.</param>
        /// <returns>int64 <c>[B, ...]</c>.</returns>
        public Tensor Categorical(Tensor logits)
        {
            ArgumentNullException.ThrowIfNull(logits);
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            var cumulative = F.softmax(logits.detach(), -1).cumsum(-1); // [B, ..., C]
            var shape = logits.shape[..^1];
            var u = Uniform(shape, logits).unsqueeze(-1) * cumulative.narrow(-1, logits.shape[^1] - 1, 1);
            return cumulative.le(u).sum(-1).clamp_max(Kept(logits.shape[^1] - 1)).MoveToOuterDisposeScope();
        }

        /// <summary>Zeros and ones, one with probability sigmoid(logits).</summary>
        /// <param name="logits"><c>[B, ...]</c>.</param>
        /// <returns>Of the logits' shape and dtype.</returns>
        public Tensor Bernoulli(Tensor logits)
        {
            ArgumentNullException.ThrowIfNull(logits);
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            return Uniform(logits.shape, logits).lt(logits.detach().sigmoid()).to_type(logits.dtype).MoveToOuterDisposeScope();
        }

        /// <summary>Normal values around the predictions.</summary>
        /// <param name="mean"><c>[B, ...]</c>.</param>
        /// <param name="standardDeviation">One number; sqrt(1/2) where the loss is a plain squared error, 1 where it is half of
        /// that.</param>
        /// <returns>Of the mean's shape and dtype.</returns>
        public Tensor Normal(Tensor mean, double standardDeviation)
        {
            ArgumentNullException.ThrowIfNull(mean);
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            return (mean.detach() + NormalDeviation(mean, standardDeviation)).MoveToOuterDisposeScope();
        }

        /// <summary>How far the drawn values lie from the predictions. Beside a large prediction a value itself has no room for it: 1e10 +
        /// 1 is 1e10 in float32.</summary>
        internal Tensor NormalDeviation(Tensor mean, double standardDeviation)
        {
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();

            // In float64: a number just below one would round to one in float32, and its logarithm be infinite.
            var radius = (Kept(-2) * (Kept(1) - Uniform(mean.shape, mean, ScalarType.Float64)).log()).sqrt();
            var angle = Kept(2 * Math.PI) * Uniform(mean.shape, mean, ScalarType.Float64);
            return (radius * angle.cos() * Kept(standardDeviation)).to_type(mean.dtype).MoveToOuterDisposeScope();
        }

        /// <summary>Values around the predictions with the density proportional to exp(-Huber's loss): normal within d, exponential
        /// beyond.</summary>
        /// <param name="mean"><c>[B, ...]</c>.</param>
        /// <param name="delta">d, above 0.</param>
        /// <returns>Of the mean's shape and dtype.</returns>
        /// <exception cref="InfluenceException">A delta that is not above 0.</exception>
        public Tensor Huber(Tensor mean, double delta)
        {
            ArgumentNullException.ThrowIfNull(mean);
            Check.Positive(delta, nameof(delta));
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            return (mean.detach() + HuberDeviation(mean, delta)).MoveToOuterDisposeScope();
        }

        /// <inheritdoc cref="NormalDeviation"/>
        internal Tensor HuberDeviation(Tensor mean, double delta)
        {
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();

            // The middle has the mass sqrt(2 pi) erf(d/sqrt 2), the two tails together 2 exp(-d^2/2)/d; inverted along the distance from
            // the mean.
            var inner = Math.Sqrt(2 * Math.PI) * tensor(delta / Math.Sqrt(2), ScalarType.Float64).erf().item<double>();
            var outer = 2 * Math.Exp(-delta * delta / 2) / delta;
            var v = (Kept(2) * Uniform(mean.shape, mean, ScalarType.Float64)) - Kept(1);
            var mass = v.abs() * Kept(inner + outer);
            var middle = Kept(Math.Sqrt(2)) * (mass.clamp_max(Kept(inner)) / Kept(Math.Sqrt(2 * Math.PI))).erfinv();
            var tail =
                Kept(delta)
                - (
                    (Kept(1) - ((mass - Kept(inner)) / Kept(Math.Max(outer, double.Epsilon))).clamp(Kept(0), Kept(1 - 1e-16))).log()
                    / Kept(delta)
                );
            var distance = where(mass.le(Kept(inner)), middle.clamp_max(Kept(delta)), tail);
            return (distance * v.sign()).to_type(mean.dtype).MoveToOuterDisposeScope();
        }

        /// <summary>Numbers in [0, 1) of that shape, on the device of a tensor and of its dtype unless given; the first dimension runs over
        /// the examples.</summary>
        private Tensor Uniform(long[] shape, Tensor like, ScalarType? dtype = null)
        {
            if (shape.Length == 0 || shape[0] != _ids.Count)
            {
                throw new InfluenceException(
                    $"Labels are sampled per example, [B, ...] with B = {_ids.Count}; found [{string.Join(", ", shape)}]."
                );
            }

            var draw = _draws++;
            var width = shape.Skip(1).Aggregate(1L, (a, b) => a * b);
            var values = new double[_ids.Count * width];
            for (var i = 0; i < _ids.Count; i++)
            {
                var key = KeyedRandom.Mix(KeyedRandom.Mix((ulong)_seed ^ ((ulong)draw << 56)) ^ (ulong)_ids[i]);
                for (long t = 0; t < width; t++)
                {
                    values[(i * width) + t] = KeyedRandom.Unit(KeyedRandom.Mix(key + ((ulong)t * KeyedRandom.Increment)));
                }
            }

            return tensor(values, dtype: dtype ?? like.dtype, device: like.device).reshape(shape);
        }
    }
}
