namespace Samples;

/// <summary>What a sample's command line can ask for.</summary>
internal interface ICommandOptions<TSelf>
    where TSelf : ICommandOptions<TSelf>
{
    /// <summary>What <c>--help</c> shows.</summary>
    static abstract string Usage { get; }

    bool Help { get; }

    /// <exception cref="SampleException">An option that does not exist, or a value that does not fit.</exception>
    static abstract TSelf Parse(IReadOnlyList<string> arguments);
}
