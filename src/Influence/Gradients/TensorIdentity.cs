namespace Influence.Gradients;

/// <summary>
/// Which tensor a parameter is. Two parameters over one memory, such as a weight and its transposed view, are two for autograd and
/// for an optimizer, and so they are here; one parameter under several names is one.
/// </summary>
/// <param name="Address">Where the memory begins.</param>
/// <param name="Offset">The first element in it.</param>
/// <param name="Count">The number of elements.</param>
/// <param name="Which">Tells apart several tensors over these elements.</param>
internal readonly record struct TensorIdentity(nint Address, long Offset, long Count, int Which);
