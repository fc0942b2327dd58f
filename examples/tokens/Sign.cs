// Prints a token for a user, signed as your backend would: Sign USER_ID USERNAME TENANT_ID

using System;
using System.IO;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Security.Cryptography;
using System.Text;

[DataContract]
public class Claims
{
    [DataMember(Name = "user_id")] public string UserId;
    [DataMember(Name = "username")] public string Username;
    [DataMember(Name = "tenant_id", EmitDefaultValue = false)] public string TenantId;
    [DataMember(Name = "iat")] public long IssuedAt;
    [DataMember(Name = "exp")] public long Expires;
}

public static class Sign
{
    const int LifetimeSeconds = 600; // the client asks for the next token in time

    public static string Token(byte[] secret, string userId, string username, string tenantId)
    {
        long now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var claims = new Claims
        {
            UserId = userId, Username = username, TenantId = tenantId, IssuedAt = now, Expires = now + LifetimeSeconds,
        };
        string text = Encode(Encoding.UTF8.GetBytes("{\"alg\":\"HS256\",\"typ\":\"JWT\"}")) + "." + Encode(Json(claims));
        using (var hmac = new HMACSHA256(secret))
            return text + "." + Encode(hmac.ComputeHash(Encoding.ASCII.GetBytes(text)));
    }

    static byte[] Json(Claims claims)
    {
        using (var stream = new MemoryStream())
        {
            new DataContractJsonSerializer(typeof(Claims)).WriteObject(stream, claims);
            return stream.ToArray();
        }
    }

    static string Encode(byte[] bytes)
    {
        return Convert.ToBase64String(bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_');
    }

    public static void Main(string[] args)
    {
        string path = Environment.GetEnvironmentVariable("HERMES_JWT_SECRET_FILE")
            ?? Environment.GetEnvironmentVariable("HOME") + "/.local/state/hermes/jwt-secret";
        string secret = File.ReadAllText(path);
        if (secret.EndsWith("\n")) secret = secret.Substring(0, secret.Length - 1); // as Hermes does
        Console.WriteLine(Token(Encoding.UTF8.GetBytes(secret), args[0], args[1], args[2]));
    }
}
