namespace Influence.Numerics;

/// <summary>A data loader's order that goes on from pass to pass, and perhaps never ends: enumerating it takes examples away from
/// training.</summary>
internal interface IRunningStream
{
    /// <summary>What it is, for messages.</summary>
    string Description { get; }
}
