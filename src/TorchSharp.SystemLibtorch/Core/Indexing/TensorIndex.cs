namespace TorchSharp;

public static partial class torch
{
    /// <summary>One index of an indexing expression.</summary>
    public struct TensorIndex
    {
        /// <summary>All of a dimension.</summary>
        public static TensorIndex Colon = Slice();

        /// <summary>All of as many dimensions as the other indices leave over.</summary>
        public static TensorIndex Ellipsis = new() { Kind = IndexKind.Ellipsis };

        /// <summary>A new dimension of size one.</summary>
        public static TensorIndex None = new() { Kind = IndexKind.NewDimension };

        /// <summary>The same as <see cref="None"/>.</summary>
        public static TensorIndex Null = new() { Kind = IndexKind.NewDimension };

        internal IndexKind Kind { get; private init; }

        /// <summary>The start of a slice, a single index, or a truth value as 0 or 1.</summary>
        internal long? Start { get; private init; }

        internal long? Stop { get; private init; }

        internal long? Step { get; private init; }

        internal Tensor? Indices { get; private init; }

        public static implicit operator TensorIndex(long value) => Single(value);

        public static implicit operator TensorIndex(Index index) => Single(FromEnd(index));

        public static implicit operator TensorIndex(Range range) => Slice(range);

        public static implicit operator TensorIndex((int? start, int? end) range) => Slice(range);

        // There so that an overload that takes tensors loses against one that takes indices; it has no meaning.
        public static implicit operator Tensor(TensorIndex value) =>
            throw new InvalidOperationException("Should not be called.");

        public static TensorIndex Slice(long? start = null, long? stop = null, long? step = null) =>
            new() { Kind = IndexKind.Slice, Start = start, Stop = stop, Step = step };

        public static TensorIndex Slice((int? start, int? end) range) => Slice(range.start, range.end);

        public static TensorIndex Slice(Range range) =>
            Slice(FromEnd(range.Start), range.End is { IsFromEnd: true, Value: 0 } ? null : FromEnd(range.End));

        public static TensorIndex Bool(bool value) => new() { Kind = IndexKind.Bool, Start = value ? 1 : 0 };

        public static TensorIndex Single(long? index) => new() { Kind = IndexKind.Single, Start = index };

        public static TensorIndex Tensor(Tensor tensor) => new() { Kind = IndexKind.Tensor, Indices = tensor };

        private static long FromEnd(Index index) => index.IsFromEnd ? -index.Value : index.Value;
    }

    internal enum IndexKind
    {
        NewDimension,
        Single,
        Ellipsis,
        Bool,
        Tensor,
        Slice,
    }
}
