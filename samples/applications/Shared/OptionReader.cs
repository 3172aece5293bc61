using System.Globalization;

namespace Samples;

/// <summary>Reads options one after the other, both <c>--seed 3</c> and <c>--seed=3</c>.</summary>
internal sealed class OptionReader(IReadOnlyList<string> arguments)
{
    private const int UsageError = 2;

    private int _next;
    private string? _attached;

    /// <summary>The option read last.</summary>
    public string Name { get; private set; } = string.Empty;

    /// <summary>Goes to the next option.</summary>
    /// <returns>False after the last one.</returns>
    public bool Read()
    {
        if (_next >= arguments.Count)
        {
            return false;
        }

        var parts = arguments[_next++].Split('=', 2);
        Name = parts[0];
        _attached = parts.Length == 2 ? parts[1] : null;
        return true;
    }

    /// <summary>The option's value.</summary>
    public string Text()
    {
        var value = _attached ?? (_next < arguments.Count ? arguments[_next++] : string.Empty);
        return value.Length > 0 ? value : throw new SampleException($"{Name} needs a value. --help says which.", UsageError);
    }

    /// <summary>The option's value, a whole number of at least <paramref name="minimum"/>.</summary>
    public int Number(int minimum)
    {
        var text = Text();
        var isNumber = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number);
        return isNumber && number >= minimum
            ? number
            : throw new SampleException($"{Name} is a whole number of at least {minimum}, not '{text}'.", UsageError);
    }

    /// <summary>What to throw where no option has this name.</summary>
    public SampleException Unknown() => new($"There is no option '{Name}'. --help lists them.", UsageError);
}
