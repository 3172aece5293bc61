namespace Influence.Display;

/// <summary>The formatters that .NET Interactive finds through <see cref="TypeFormatterSourceAttribute"/>, by its convention.</summary>
internal sealed class HtmlFormatters
{
    private readonly object[] _formatters = [new Formatter("text/html", shown => shown.ToHtml())];

    /// <summary>One formatter, for HTML.</summary>
    public IEnumerable<object> CreateTypeFormatters() => _formatters;

    private sealed class Formatter(string mimeType, Func<IHtml, string> render)
    {
        public string MimeType { get; } = mimeType;

        public bool Format(object instance, TextWriter writer)
        {
            if (instance is not IHtml shown)
            {
                return false;
            }

            writer.Write(render(shown));
            return true;
        }
    }
}
