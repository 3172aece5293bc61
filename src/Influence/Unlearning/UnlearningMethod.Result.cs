using System.Globalization;
using Influence.Display;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Unlearning;

public abstract partial record UnlearningMethod
{
    /// <summary>
    /// A model's weights and buffers after unlearning or an edit. The model that they come from is as it was: load them where they are
    /// wanted.
    /// </summary>
    /// <remarks>It owns its tensors: dispose it.</remarks>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisposable, IDisplay
    {
        internal const string MethodKey = "influence.unlearning";

        private readonly Dictionary<string, Tensor> _tensors;

        private Result(Dictionary<string, Tensor> tensors, string method, IReadOnlyList<string> notes) =>
            (_tensors, Method, Notes) = (tensors, method, notes);

        /// <summary>Every parameter and buffer by its name in <c>state_dict()</c>; they stay this object's.</summary>
        public IReadOnlyDictionary<string, Tensor> Tensors => _tensors;

        /// <summary>What made them.</summary>
        public string Method { get; }

        /// <summary>What one must know to judge them: a step that was shortened, the layer that was chosen, how many parameters
        /// moved.</summary>
        public IReadOnlyList<string> Notes { get; }

        /// <summary>The Euclidean length of the change over all parameters.</summary>
        public double StepNorm { get; private init; }

        /// <summary>The mean loss of the examples to forget before and after; NaN where no examples were named.</summary>
        public (double Before, double After) ForgetLoss { get; private init; } = (double.NaN, double.NaN);

        /// <summary>The mean loss of the examples to keep before and after; NaN where no examples were named.</summary>
        public (double Before, double After) KeepLoss { get; private init; } = (double.NaN, double.NaN);

        /// <summary>How long it took, the losses before and after included; a fit of curvature that was handed over is not.</summary>
        public TimeSpan Elapsed { get; private init; }

        /// <summary>Copies the weights into a model, in place: parameters stay the objects that they are.</summary>
        /// <param name="model">A model with the same parameters and buffers.</param>
        /// <exception cref="InfluenceException">Names, shapes or types differ; the model is then as before.</exception>
        public void LoadInto(nn.Module model)
        {
            ArgumentNullException.ThrowIfNull(model);
            using var scope = NewDisposeScope();
            using var claim = ModelInUse.Claim(model);
            using var noGrad = no_grad();
            var state = model.state_dict();
            var differences = state
                .Keys.Except(_tensors.Keys)
                .Select(name => $"{name} is in the model only")
                .Concat(_tensors.Keys.Except(state.Keys).Select(name => $"{name} is not in the model"))
                .Concat(
                    state
                        .Where(pair =>
                            _tensors.TryGetValue(pair.Key, out var own)
                            && (own.dtype != pair.Value.dtype || !own.shape.SequenceEqual(pair.Value.shape))
                        )
                        .Select(pair =>
                            $"{pair.Key} is {pair.Value.dtype} [{string.Join(", ", pair.Value.shape)}] in the model, "
                            + $"{_tensors[pair.Key].dtype} [{string.Join(", ", _tensors[pair.Key].shape)}] here"
                        )
                )
                .ToList();
            if (differences.Count > 0)
            {
                throw new InfluenceException(
                    $"These weights are of another model: {InfluenceException.List(differences)}. Load them into a model of the same "
                        + "layers and type as the one that unlearned."
                );
            }

            foreach (var (name, value) in state)
            {
                value.copy_(_tensors[name]);
            }
        }

        /// <summary>Writes them as safetensors, with a checksum; <c>Checkpoint.FromFile(path)</c> reads them again, with a learning rate of
        /// 0.</summary>
        /// <param name="path">The file, ending in <c>.safetensors</c>. Written whole or not at all.</param>
        /// <exception cref="InfluenceException">Another ending, or it cannot be written; an older file of that name is
        /// untouched.</exception>
        public void Save(string path)
        {
            ArgumentNullException.ThrowIfNull(path);
            Safetensors.CheckName(path);
            Safetensors.Save(
                path,
                [.. _tensors.Select(pair => (pair.Key, pair.Value))],
                new Dictionary<string, string>
                {
                    [Checkpoint.LearningRateKey] = "0",
                    [Checkpoint.StepKey] = "0",
                    [MethodKey] = Method,
                }
            );
        }

        /// <summary>Frees the tensors.</summary>
        public void Dispose()
        {
            foreach (var tensor in _tensors.Values)
            {
                tensor.Dispose();
            }
        }

        /// <summary>A table of the losses before and after, and the notes.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        /// <summary>The weights that a model has now, and how far they are from those that it had.</summary>
        /// <param name="model">The model.</param>
        /// <param name="method">What moved it.</param>
        /// <param name="notes">Remarks.</param>
        /// <param name="stepNorm">The length of the change.</param>
        /// <param name="forget">Mean losses before and after.</param>
        /// <param name="keep">Mean losses before and after.</param>
        /// <param name="elapsed">Time.</param>
        internal static Result Of(
            nn.Module model,
            string method,
            IReadOnlyList<string> notes,
            double stepNorm,
            (double, double) forget,
            (double, double) keep,
            TimeSpan elapsed
        )
        {
            if (!double.IsFinite(stepNorm) || CheckpointWeights.NotFinite(model) is { Count: > 0 })
            {
                throw new InfluenceException(
                    $"The step of {method} leads to weights that are NaN or infinite. Write more damping, a lower learning rate or fewer "
                        + "steps; the model is as before."
                );
            }

            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            var tensors = model.state_dict().ToDictionary(pair => pair.Key, pair => pair.Value.detach().clone().DetachFromDisposeScope());
            return new Result(tensors, method, notes)
            {
                StepNorm = stepNorm,
                ForgetLoss = forget,
                KeepLoss = keep,
                Elapsed = elapsed,
            };
        }

        private Table ToTable() =>
            new(
                string.Create(CultureInfo.InvariantCulture, $"{Method}: step of length {StepNorm:G4}, {Elapsed.TotalSeconds:0.0} s"),
                ["", "before", "after"],
                [
                    ["loss of the examples to forget", ForgetLoss.Before, ForgetLoss.After],
                    ["loss of the examples to keep", KeepLoss.Before, KeepLoss.After],
                    .. Notes.Select(note => (IReadOnlyList<object>)[note, string.Empty, string.Empty]),
                ]
            );
    }
}
