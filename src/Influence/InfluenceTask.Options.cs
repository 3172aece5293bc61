using static TorchSharp.torch;

namespace Influence;

public sealed partial record InfluenceTask
{
    /// <summary>
    /// The settings of the model's native attention modules, which TorchSharp does not let one read. What is left out is tried;
    /// what is given is still held against the modules' own output.
    /// </summary>
    /// <remarks>
    /// TorchSharp's encoder layers normalise after each sublayer and have no other order, so there is nothing to say about that.
    /// </remarks>
    public sealed record Options
    {
        /// <summary>The number of attention heads, of every native attention module.</summary>
        /// <value>Null: every divisor of the width is tried.</value>
        /// <exception cref="InfluenceException">Not positive.</exception>
        public long? Heads
        {
            get;
            init => field = Check.AtLeastOne(value);
        }

        /// <summary>The activation within encoder layers.</summary>
        /// <value>Null: both are tried.</value>
        public nn.Activations? Activation { get; init; }
    }
}
