using System.CommandLine;

namespace Samples;

/// <summary>What a sample's command line can ask for.</summary>
internal interface ICommandOptions<TSelf>
    where TSelf : ICommandOptions<TSelf>
{
    /// <summary>What the sample is about, and its options.</summary>
    static abstract RootCommand Command { get; }

    /// <summary>What one command line asks for; it was parsed without an error.</summary>
    static abstract TSelf Of(ParseResult given);
}
